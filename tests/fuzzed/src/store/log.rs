//! The checksums of SQLite's write-ahead log (<https://www.sqlite.org/fileformat2.html#walformat>): without them no
//! edit of the log would get past its reader.

/// Before all frames, and before each page.
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const PAGE: usize = 4_096;
/// The lowest bit of the magic number tells the order of bytes.
const BIG_END_FIRST: u8 = 1;

/// Makes the checksums of a log those of its bytes.
pub fn mend(log: &mut [u8]) {
    let Some((header, frames)) = log.split_at_mut_checked(HEADER) else {
        return;
    };
    let big = header[3] & BIG_END_FIRST != 0;
    let mut sum = add((0, 0), &header[..24], big);
    write(&mut header[24..], sum);
    let salts: [u8; 8] = std::array::from_fn(|at| header[16 + at]);
    for frame in frames.chunks_exact_mut(FRAME_HEADER + PAGE) {
        frame[8..16].copy_from_slice(&salts);
        sum = add(sum, &frame[..8], big);
        sum = add(sum, &frame[FRAME_HEADER..], big);
        write(&mut frame[16..24], sum);
    }
}

fn add((mut one, mut two): (u32, u32), bytes: &[u8], big: bool) -> (u32, u32) {
    let (words, _) = bytes.as_chunks::<4>();
    let words = words.iter().map(|word| match big {
        true => u32::from_be_bytes(*word),
        false => u32::from_le_bytes(*word),
    });
    let words: Vec<u32> = words.collect();
    for pair in words.chunks_exact(2) {
        one = one.wrapping_add(pair[0]).wrapping_add(two);
        two = two.wrapping_add(pair[1]).wrapping_add(one);
    }
    (one, two)
}

/// The checksums are stored with the big end first, whatever the order they are made in.
fn write(place: &mut [u8], (one, two): (u32, u32)) {
    place[..4].copy_from_slice(&one.to_be_bytes());
    place[4..8].copy_from_slice(&two.to_be_bytes());
}
