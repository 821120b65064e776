//! Frames of HTTP/2 as no client should send them, and what the server must say to each: the rules of RFC 9113 and
//! RFC 7541, one by one. The list follows the sections that the public tool h2spec tests.

mod frames;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use frames::*;

use crate::host::PATIENCE;
use crate::http::{address, expect, get, probe, probe_within, up};

/// What must come of what was sent.
enum Must {
    /// The connection ends, with one of these errors where it says one.
    End(&'static [u32]),
    /// The stream ends, or its connection, with one of these errors; or the request is answered as a bad one.
    Reset(&'static [u32]),
    /// Nothing: the connection goes on.
    GoOn,
}
use Must::{End, GoOn, Reset};

fn judge(connection: &mut Connection, must: &Must) -> Result<(), String> {
    let allowed = match must {
        GoOn => {
            connection.answers_pings();
            return Ok(());
        }
        End(codes) | Reset(codes) => *codes,
    };
    // Where it doesn't mind what came, this is answered.
    connection.send(&[frame(PING, 0, 0, b"go-on-so")]);
    let mut ponged = false;
    loop {
        let Some(frame) = connection.next() else {
            return Ok(());
        };
        let error = match frame.kind {
            GOAWAY => code(&frame.payload, 4),
            RST_STREAM if matches!(must, Reset(_)) => code(&frame.payload, 0),
            // The static table's index of `:status: 400`.
            HEADERS if matches!(must, Reset(_)) && frame.payload.first() == Some(&0x8c) => {
                return Ok(());
            }
            PING => {
                ponged = true;
                // What it says of a stream may come after.
                if matches!(must, Reset(_)) {
                    continue;
                }
                return Err("it goes on".to_owned());
            }
            HEADERS if ponged => return Err(format!("it answers: {frame:?}")),
            _ => continue,
        };
        // The crate h2 says the general error at many places where the RFCs have a finer one.
        return match error == PROTOCOL_ERROR || allowed.contains(&error) {
            true => Ok(()),
            false => Err(format!("error {error} in place of {allowed:?}")),
        };
    }
}

#[test]
fn whoever_breaks_the_rules_of_http2_hears_which() {
    let app = probe("http-probe");
    let host = up(&app);
    let huge = vec![0; (1 << 14) + 1];
    let cases: Vec<(&str, Vec<Vec<u8>>, Must)> = vec![
        // 4.1
        (
            "a frame of an unknown kind",
            vec![frame(0xfa, 0xff, 0, b"what")],
            GoOn,
        ),
        (
            "flags that a frame doesn't have",
            vec![frame(PING, 0xfe, 0, b"somebyte")],
            GoOn,
        ),
        (
            "the reserved bit of a stream",
            vec![frame(PING, 0, 1 << 31, b"somebyte")],
            GoOn,
        ),
        // 4.2
        (
            "a frame larger than may be",
            vec![begun(1), frame(DATA, 0, 1, &huge)],
            End(&[FRAME_SIZE_ERROR]),
        ),
        (
            "a head larger than a frame may be",
            vec![frame(HEADERS, END_HEADERS, 1, &huge)],
            End(&[FRAME_SIZE_ERROR]),
        ),
        // 4.3
        (
            "a block that can't be read",
            vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x40])],
            End(&[COMPRESSION_ERROR]),
        ),
        (
            "a frame between the parts of a block",
            vec![
                frame(HEADERS, 0, 1, &block(&ECHO)),
                frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]),
            ],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "another stream between the parts of a block",
            vec![frame(HEADERS, 0, 1, &block(&ECHO)), begun(3)],
            End(&[PROTOCOL_ERROR]),
        ),
        // 5.1
        (
            "data of an idle stream",
            vec![frame(DATA, END_STREAM, 1, b"x")],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "the reset of an idle stream",
            vec![reset(1)],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "the window of an idle stream",
            vec![window(1, 9)],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "a continuation of an idle stream",
            vec![frame(CONTINUATION, END_HEADERS, 1, &block(&ECHO))],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "data after the end of the request",
            vec![whole(1), frame(DATA, END_STREAM, 1, b"x")],
            Reset(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        (
            "a head after the end of the request",
            vec![whole(1), whole(1)],
            Reset(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        (
            "a continuation after the end of the request",
            vec![whole(1), frame(CONTINUATION, END_HEADERS, 1, &block(&ECHO))],
            End(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
        (
            "data after a reset",
            vec![begun(1), reset(1), frame(DATA, END_STREAM, 1, b"x")],
            Reset(&[STREAM_CLOSED]),
        ),
        (
            "a head after a reset",
            vec![begun(1), reset(1), whole(1)],
            Reset(&[STREAM_CLOSED]),
        ),
        // 5.1.1
        ("an even stream", vec![whole(2)], End(&[PROTOCOL_ERROR])),
        (
            "a stream below the last",
            vec![whole(5), whole(3)],
            End(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
        // 6.1
        (
            "data of no stream",
            vec![frame(DATA, 0, 0, b"x")],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "more padding than data",
            vec![begun(1), frame(DATA, PADDED | END_STREAM, 1, &[9, 1])],
            End(&[PROTOCOL_ERROR]),
        ),
        // 6.2
        (
            "a head of no stream",
            vec![whole(0)],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "more padding than a head",
            vec![frame(
                HEADERS,
                PADDED | END_HEADERS | END_STREAM,
                1,
                &[99, 1],
            )],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "a head with a priority of nothing",
            vec![frame(HEADERS, WITH_PRIORITY | END_HEADERS, 1, &[0])],
            End(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]),
        ),
        // 6.3
        (
            "a priority of no stream",
            vec![frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 1])],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "a priority of another size",
            vec![begun(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 1])],
            Reset(&[FRAME_SIZE_ERROR]),
        ),
        // 6.4
        (
            "the reset of no stream",
            vec![reset(0)],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "a reset of another size",
            vec![begun(1), frame(RST_STREAM, 0, 1, &[0, 0, 8])],
            End(&[FRAME_SIZE_ERROR]),
        ),
        // 6.5
        (
            "settings that are seen, and say more",
            vec![frame(SETTINGS, ACK, 0, &[0])],
            End(&[FRAME_SIZE_ERROR]),
        ),
        (
            "settings of a stream",
            vec![frame(SETTINGS, 0, 1, &[])],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "settings of another size",
            vec![frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0])],
            End(&[FRAME_SIZE_ERROR]),
        ),
        (
            "pushing neither on nor off",
            vec![settings(&[(2, 2)])],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "a window past the largest",
            vec![settings(&[(4, 1 << 31)])],
            End(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "frames below the smallest",
            vec![settings(&[(5, (1 << 14) - 1)])],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "frames past the largest",
            vec![settings(&[(5, 1 << 24)])],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "a setting that nobody knows",
            vec![settings(&[(0xfaff, 1)])],
            GoOn,
        ),
        // 6.6, 8.4
        (
            "a promise",
            vec![
                begun(1),
                frame(
                    PUSH_PROMISE,
                    END_HEADERS,
                    1,
                    &[&[0, 0, 0, 2][..], &block(&ECHO)].concat(),
                ),
            ],
            End(&[PROTOCOL_ERROR]),
        ),
        // 6.7
        (
            "the answer to no ping",
            vec![frame(PING, ACK, 0, b"somebyte")],
            GoOn,
        ),
        (
            "a ping of a stream",
            vec![frame(PING, 0, 1, b"somebyte")],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "a ping of another size",
            vec![frame(PING, 0, 0, b"six by")],
            End(&[FRAME_SIZE_ERROR]),
        ),
        // 6.8
        (
            "a good-bye of a stream",
            vec![frame(GOAWAY, 0, 1, &[0; 8])],
            End(&[PROTOCOL_ERROR]),
        ),
        // 6.9
        (
            "no more of the window",
            vec![window(0, 0)],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "no more of a stream's window",
            vec![begun(1), window(1, 0)],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "a window of another size",
            vec![frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])],
            End(&[FRAME_SIZE_ERROR]),
        ),
        (
            "more than a window can be",
            vec![window(0, (1 << 31) - 1), window(0, (1 << 31) - 1)],
            End(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "more than a stream's window can be",
            vec![begun(1), window(1, (1 << 31) - 1), window(1, (1 << 31) - 1)],
            Reset(&[FLOW_CONTROL_ERROR]),
        ),
        (
            "a setting that makes a window too large",
            vec![
                begun(1),
                window(1, 1 << 20),
                settings(&[(4, (1 << 31) - 1)]),
            ],
            End(&[FLOW_CONTROL_ERROR]),
        ),
        // 6.10
        (
            "a continuation of what has ended",
            vec![
                begun(1),
                frame(CONTINUATION, END_HEADERS, 1, &block(&[("a", "b")])),
            ],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "a continuation of no stream",
            vec![
                frame(HEADERS, 0, 1, &block(&ECHO)),
                frame(CONTINUATION, END_HEADERS, 0, &[]),
            ],
            End(&[PROTOCOL_ERROR]),
        ),
        (
            "a continuation after data",
            vec![
                begun(1),
                frame(DATA, 0, 1, b"x"),
                frame(CONTINUATION, END_HEADERS, 1, &[]),
            ],
            End(&[PROTOCOL_ERROR]),
        ),
        // 8.2
        (
            "a name in capitals",
            vec![with(&[("X-Name", "x")])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "a name with a space",
            vec![with(&[("x name", "x")])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "a value with an end of line",
            vec![with(&[("x", "a\r\nb: c")])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "a field of the connection",
            vec![with(&[("connection", "keep-alive")])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "a transfer coding",
            vec![with(&[("transfer-encoding", "chunked")])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "other codings than trailers",
            vec![with(&[("te", "trailers, deflate")])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        // 8.3
        (
            "a pseudo-field that nobody knows",
            vec![with(&[(":test", "x")])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "a pseudo-field of answers",
            vec![with(&[(":status", "200")])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "a pseudo-field after others",
            vec![request_of(
                1,
                END_STREAM,
                &[&[("a", "b")], &ECHO[..]].concat(),
            )],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "trailers that don't end it",
            vec![begun(1), request_of(1, 0, &[("a", "b")])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "an empty path",
            vec![request_of(
                1,
                END_STREAM,
                &[&ECHO[..3], &[(":path", "")]].concat(),
            )],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "no method",
            vec![request_of(1, END_STREAM, &ECHO[1..])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "no scheme",
            vec![request_of(1, END_STREAM, &[ECHO[0], ECHO[2], ECHO[3]])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "no path",
            vec![request_of(1, END_STREAM, &ECHO[..3])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "two methods",
            vec![request_of(1, END_STREAM, &[&ECHO[..1], &ECHO[..]].concat())],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "two paths",
            vec![request_of(1, END_STREAM, &[&ECHO[..], &ECHO[3..]].concat())],
            Reset(&[PROTOCOL_ERROR]),
        ),
        // 8.3.1
        (
            "another host than its authority",
            vec![with(&[("host", "other")])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "two hosts",
            vec![with(&[("host", "here"), ("host", "here")])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "an authority with a name of a user",
            vec![request_of(
                1,
                END_STREAM,
                &[ECHO[0], ECHO[1], (":authority", "user@here"), ECHO[3]],
            )],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "no authority and no host",
            vec![request_of(1, END_STREAM, &[ECHO[0], ECHO[1], ECHO[3]])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        // 8.1.1
        (
            "a length that is no number",
            vec![with(&[("content-length", "x")])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "a length of 64 bits",
            vec![with(&[("content-length", "18446744073709551615")])],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "two lengths",
            vec![
                request_of(
                    1,
                    0,
                    &[
                        &ECHO[..],
                        &[("content-length", "1"), ("content-length", "2")],
                    ]
                    .concat(),
                ),
                frame(DATA, END_STREAM, 1, b"x"),
            ],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "a body shorter than its length",
            vec![
                request_of(1, 0, &[&ECHO[..], &[("content-length", "2")]].concat()),
                frame(DATA, END_STREAM, 1, b"x"),
            ],
            Reset(&[PROTOCOL_ERROR]),
        ),
        (
            "a body longer than its length",
            vec![
                request_of(1, 0, &[&ECHO[..], &[("content-length", "2")]].concat()),
                frame(DATA, 0, 1, b"x"),
                frame(DATA, END_STREAM, 1, b"xx"),
            ],
            Reset(&[PROTOCOL_ERROR]),
        ),
        // RFC 7541, 2.3.3, 4.2, 5.2, 6.1, 6.3
        (
            "the index 0",
            vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80])],
            End(&[COMPRESSION_ERROR]),
        ),
        (
            "an index past the table",
            vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xfe])],
            End(&[COMPRESSION_ERROR]),
        ),
        (
            "a table's size after a field",
            vec![frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[&block(&ECHO)[..], &[0x20]].concat(),
            )],
            End(&[COMPRESSION_ERROR]),
        ),
        (
            "a table larger than may be",
            vec![frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[&[0x3f, 0xe1, 0xff, 0x03][..], &block(&ECHO)].concat(),
            )],
            End(&[COMPRESSION_ERROR]),
        ),
        (
            "a code of Huffman's that ends a string",
            vec![frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[
                    &block(&ECHO)[..],
                    &[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff],
                ]
                .concat(),
            )],
            End(&[COMPRESSION_ERROR]),
        ),
        (
            "padding of Huffman's that is too long",
            vec![frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[&block(&ECHO)[..], &[0, 1, b'x', 0x82, 0x1f, 0xff]].concat(),
            )],
            End(&[COMPRESSION_ERROR]),
        ),
        (
            "a number that never ends",
            vec![frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &[0x7f; 1]
                    .iter()
                    .copied()
                    .chain([0xff; 40])
                    .collect::<Vec<_>>(),
            )],
            End(&[COMPRESSION_ERROR]),
        ),
    ];
    let address = address(&host);
    let mut wrong = Vec::new();
    for (name, sent, must) in cases {
        let mut connection = Connection::open(address);
        connection.send(&sent);
        if let Err(error) = judge(&mut connection, &must) {
            wrong.push(format!("{name}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Nobody else minds.
    expect(&get(&host, "/seen"), "200", "0");
    host.stop();
}

#[test]
fn what_isnt_the_preface_of_http2_isnt_taken_for_it() {
    let app = probe("http-probe");
    let host = up(&app);
    for sent in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"[..],
        b"PRI * HTTP/2.0\r\n\r\n\r\n\r\n\r\n\r\n",
        b"PRI * HTTP/1.1\r\nHost: here\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(address(&host)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.contains(" 200 "), "{text}");
    }
    host.stop();
}

/// A field of 60 KB is taken and one of 100 KB isn't, in one piece.
#[test]
fn a_head_has_the_size_that_is_promised() {
    let app = probe("http-probe");
    let host = up(&app);
    // Of the static table, or what it has not: by the code of Huffman's.
    for (bytes, status) in [(60_000, &[0x88][..]), (100_000, &[0x69, 0x90, 0xff])] {
        let mut head = block(&ECHO);
        head.extend(long_field("x", bytes));
        let pieces: Vec<_> = head.chunks(1 << 14).collect();
        let last = pieces.len() - 1;
        let frames = pieces.iter().enumerate().map(|(at, piece)| {
            let (kind, begin) = match at {
                0 => (HEADERS, END_STREAM),
                _ => (CONTINUATION, 0),
            };
            let end = if at == last { END_HEADERS } else { 0 };
            frame(kind, begin | end, 1, piece)
        });
        let mut connection = Connection::open(address(&host));
        connection.send(&[frames.flatten().collect()]);
        let head = connection.until(|frame| frame.kind == HEADERS).payload;
        let found = head.windows(status.len()).any(|part| part == status);
        assert!(found, "{bytes}: {head:x?}");
    }
    host.stop();
}

/// A length past what may be is refused before any of the body comes.
#[test]
fn a_length_that_is_too_large_is_refused_at_once() {
    let app = probe_within("http-probe", "memory = \"64MiB\", request = 1000");
    let host = up(&app);
    for length in ["1001", "9999999999999999999"] {
        let mut connection = Connection::open(address(&host));
        let fields = [&ECHO[..], &[("content-length", length)]].concat();
        connection.send(&[request_of(1, 0, &fields)]);
        let said = connection.until(|frame| frame.kind == DATA);
        let said = String::from_utf8_lossy(&said.payload);
        assert!(said.contains("more than 1000 bytes"), "{length}: {said}");
    }
    host.stop();
}

/// A window of one byte lets one byte through at a time.
#[test]
fn the_clients_window_is_kept_to() {
    let app = probe("http-probe");
    let host = up(&app);
    let mut connection = Connection::open(address(&host));
    connection.send(&[settings(&[(4, 1)]), begun(1)]);
    connection.send(&[frame(DATA, END_STREAM, 1, b"four")]);
    let mut body = Vec::new();
    while body.len() < 4 {
        let data = connection.until(|frame| frame.kind == DATA && !frame.payload.is_empty());
        assert_eq!(data.payload.len(), 1);
        body.extend(data.payload);
        // Nothing comes before there is room for it.
        connection.answers_pings();
        connection.send(&[window(1, 1)]);
    }
    assert_eq!(body, b"four");
    host.stop();
}

/// Attacks that cost a client next to nothing: its connection ends, or it goes on; others never mind.
#[test]
fn floods_of_frames_end_their_own_connection_alone() {
    let app = probe("http-probe");
    let host = up(&app);
    let address = address(&host);
    let resets: Vec<Vec<u8>> = (0..20_000_u32)
        .flat_map(|at| [begun(2 * at + 1), reset(2 * at + 1)])
        .collect();
    let endless = std::iter::once(frame(HEADERS, 0, 1, &block(&ECHO))).chain(std::iter::repeat_n(
        frame(CONTINUATION, 0, 1, &block(&[("x-more", "x")])),
        50_000,
    ));
    let floods: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("streams begun and reset", resets),
        ("a head without end", endless.collect()),
        ("settings", vec![settings(&[(4, 65_535)]); 50_000]),
        ("pings", vec![frame(PING, 0, 0, b"somebyte"); 50_000]),
        (
            "empty pieces",
            [vec![begun(1)], vec![frame(DATA, 0, 1, b""); 50_000]].concat(),
        ),
        (
            "priorities",
            vec![frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]); 50_000],
        ),
    ];
    for (name, frames) in floods {
        // Who floods doesn't read.
        let mut flooding = Connection::open(address);
        flooding
            .0
            .set_write_timeout(Some(std::time::Duration::from_secs(2)))
            .unwrap();
        for piece in frames.chunks(500) {
            if flooding.0.write_all(&piece.concat()).is_err() {
                break;
            }
        }
        expect(&get(&host, "/hello"), "200", "Hello, world!\n");
        drop(flooding);
        eprintln!("{name}: others are answered");
    }
    assert!(host.peak_memory() < 1 << 30, "{}", host.peak_memory());
    // More streams at once than may be are refused.
    let mut connection = Connection::open(address);
    let settings = connection.until(|frame| frame.kind == SETTINGS && frame.flags == 0);
    let mut allowed = settings
        .payload
        .chunks(6)
        .filter(|value| value[..2] == [0, 3]);
    let allowed = code(allowed.next().unwrap(), 2);
    let streams: Vec<_> = (0..=allowed).map(|at| begun(2 * at + 1)).collect();
    connection.send(&streams);
    let refused = connection.until(|frame| frame.kind == RST_STREAM);
    assert!([REFUSED_STREAM, PROTOCOL_ERROR].contains(&code(&refused.payload, 0)));
    host.stop();
}
