//! A file as its decoder reads it: without junk, and with bits that are no code behind all data.

use std::ops::Range;

use zune_core::bytestream::{ZByteIoError, ZByteReaderTrait, ZSeekFrom};

/// Bits behind the end of data. No Huffman code is all ones (ITU-T T.81, C.2): a decoder that needs
/// more bits than there are fails on these, and another one skips them to the next marker. A zero
/// after each 0xff keeps it from being a marker. There are more than a decoder reads ahead.
const NO_CODE: &[u8] = &[
    0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff,
    0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0,
];

/// The file's parts in their order. Nothing of it is copied.
pub(crate) struct CheckedStream<'a> {
    pieces: Vec<StreamPiece<'a>>,
    /// The place of the piece that is read.
    index: usize,
    piece: StreamPiece<'a>,
    /// Bytes of it that have been read.
    read: usize,
    len: usize,
}

#[derive(Clone, Copy)]
struct StreamPiece<'a> {
    /// Bytes before it.
    start: usize,
    bytes: &'a [u8],
}

impl<'a> CheckedStream<'a> {
    /// Leaves out `junk`, and puts bits that are no code before each of `ends`. Both are in order,
    /// and all junk comes first.
    pub fn new(bytes: &'a [u8], junk: &[Range<usize>], ends: &[usize]) -> Self {
        let mut stream = Self {
            pieces: Vec::with_capacity(junk.len() + ends.len() * 2 + 1),
            index: 0,
            piece: StreamPiece {
                start: 0,
                bytes: &[],
            },
            read: 0,
            len: 0,
        };
        let mut at = 0;
        for Range { start, end } in junk {
            stream.push(bytes.get(at..*start).unwrap_or_default());
            at = *end;
        }
        for end in ends {
            stream.push(bytes.get(at..*end).unwrap_or_default());
            stream.push(NO_CODE);
            at = *end;
        }
        stream.push(bytes.get(at..).unwrap_or_default());
        stream.go_to(0);
        stream
    }

    /// Returns the bytes that a stream takes beside the file.
    pub fn bytes_for(junk: usize, ends: usize) -> u64 {
        ((junk + ends * 2 + 1) * size_of::<StreamPiece<'_>>()) as u64
    }

    /// Tells whether the last read was behind the end of data, as of a decoder that needed more.
    pub fn is_past_data(&self) -> bool {
        std::ptr::eq(self.piece.bytes, NO_CODE)
    }

    fn push(&mut self, bytes: &'a [u8]) {
        let start = self.len;
        self.len += bytes.len();
        self.pieces.push(StreamPiece { start, bytes });
    }

    fn position(&self) -> usize {
        self.piece.start + self.read
    }

    fn go_to(&mut self, position: usize) {
        let position = position.min(self.len);
        if let Some(read) = position.checked_sub(self.piece.start)
            && read < self.piece.bytes.len()
        {
            self.read = read;
            return;
        }
        let behind = self.pieces.partition_point(|piece| piece.start <= position);
        self.index = behind.saturating_sub(1);
        if let Some(piece) = self.pieces.get(self.index) {
            self.piece = *piece;
            self.read = position - piece.start;
        }
    }

    /// Returns the next bytes of a piece; none at the end.
    #[inline]
    fn next(&mut self) -> &'a [u8] {
        while self.read >= self.piece.bytes.len() {
            let Some(piece) = self.pieces.get(self.index + 1) else {
                return &[];
            };
            self.index += 1;
            self.piece = *piece;
            self.read = 0;
        }
        self.piece.bytes.get(self.read..).unwrap_or_default()
    }
}

impl ZByteReaderTrait for CheckedStream<'_> {
    #[inline]
    fn read_byte_no_error(&mut self) -> u8 {
        match self.piece.bytes.get(self.read) {
            Some(byte) => {
                self.read += 1;
                *byte
            }
            None => {
                let byte = self.next().first().copied();
                self.read += usize::from(byte.is_some());
                byte.unwrap_or(0)
            }
        }
    }

    #[inline]
    fn read_exact_bytes(&mut self, buffer: &mut [u8]) -> Result<(), ZByteIoError> {
        let end = self.read + buffer.len();
        if let Some(bytes) = self.piece.bytes.get(self.read..end) {
            buffer.copy_from_slice(bytes);
            self.read = end;
            return Ok(());
        }
        let left = self.len - self.position();
        if left < buffer.len() {
            return Err(ZByteIoError::NotEnoughBytes(left, buffer.len()));
        }
        self.read_bytes(buffer).map(drop)
    }

    fn read_bytes(&mut self, buffer: &mut [u8]) -> Result<usize, ZByteIoError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..)
            && !rest.is_empty()
        {
            let next = self.next();
            let len = next.len().min(rest.len());
            if len == 0 {
                break;
            }
            for (into, from) in rest.iter_mut().zip(next) {
                *into = *from;
            }
            self.read += len;
            filled += len;
        }
        Ok(filled)
    }

    fn peek_bytes(&mut self, buffer: &mut [u8]) -> Result<usize, ZByteIoError> {
        let position = self.position();
        let read = self.read_bytes(buffer);
        self.go_to(position);
        read
    }

    fn peek_exact_bytes(&mut self, buffer: &mut [u8]) -> Result<(), ZByteIoError> {
        let position = self.position();
        let read = self.read_exact_bytes(buffer);
        self.go_to(position);
        read
    }

    #[inline]
    fn z_seek(&mut self, from: ZSeekFrom) -> Result<u64, ZByteIoError> {
        let (base, offset) = match from {
            ZSeekFrom::Start(position) => (0, i64::try_from(position).unwrap_or(i64::MAX)),
            ZSeekFrom::End(offset) => (self.len, offset),
            ZSeekFrom::Current(offset) => (self.position(), offset),
        };
        let offset = isize::try_from(offset).unwrap_or(isize::MAX);
        match base.checked_add_signed(offset) {
            Some(position) => self.go_to(position),
            None if offset > 0 => self.go_to(self.len),
            None => return Err(ZByteIoError::SeekError("before the start")),
        }
        Ok(self.position() as u64)
    }

    #[inline]
    fn is_eof(&mut self) -> Result<bool, ZByteIoError> {
        Ok(self.position() >= self.len)
    }

    fn z_position(&mut self) -> Result<u64, ZByteIoError> {
        Ok(self.position() as u64)
    }

    fn read_remaining(&mut self, sink: &mut Vec<u8>) -> Result<usize, ZByteIoError> {
        let before = sink.len();
        loop {
            let next = self.next();
            if next.is_empty() {
                return Ok(sink.len() - before);
            }
            sink.extend_from_slice(next);
            self.read += next.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_one() {
        let mut stream = CheckedStream::new(b"abJUNKcdef", std::slice::from_ref(&(2..6)), &[8]);
        let whole = [b"abcd", NO_CODE, b"ef"].concat();
        let mut read = Vec::new();
        assert!(matches!(stream.read_remaining(&mut read), Ok(len) if len == whole.len()));
        assert_eq!(read, whole);
        assert_eq!(stream.read_byte_no_error(), 0);
        assert!(matches!(stream.is_eof(), Ok(true)));
        for from in 0..=whole.len() {
            for len in 0..=whole.len() - from {
                let mut part = vec![0; len];
                assert!(stream.z_seek(ZSeekFrom::Start(from as u64)).is_ok());
                assert!(stream.peek_exact_bytes(&mut part).is_ok());
                assert_eq!(part, whole[from..from + len]);
                assert_eq!(stream.position(), from);
                assert!(stream.read_exact_bytes(&mut part).is_ok());
                assert_eq!(part, whole[from..from + len]);
                assert!(stream.z_seek(ZSeekFrom::Current(-(len as i64))).is_ok());
                assert_eq!(stream.position(), from);
            }
            assert!(
                stream
                    .read_exact_bytes(&mut vec![0; whole.len() + 1])
                    .is_err()
            );
            assert_eq!(stream.position(), from);
        }
        assert!(stream.z_seek(ZSeekFrom::End(-1)).is_ok());
        assert_eq!(stream.read_byte_no_error(), b'f');
        assert!(stream.z_seek(ZSeekFrom::Start(0)).is_ok());
        assert!(stream.z_seek(ZSeekFrom::Current(-1)).is_err());
    }
}
