//! The ring against plain sockets: what the kernel ends by itself, and what is left when we end it.

use std::{
    io::{ErrorKind, IoSlice, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    thread,
    time::Duration,
};

use super::*;

const BUFFERS_BYTES: usize = BUFFERS as usize * buffers::BYTES;

fn ring() -> (Sleeper, Ring) {
    let sleeper = Sleeper::new().unwrap();
    let ring = Ring::new(sleeper.eventfd()).unwrap();
    (sleeper, ring)
}

/// All that completes by itself.
fn completions(ring: &mut Ring) -> Vec<(Completion, bool)> {
    let mut completions = Vec::new();
    loop {
        ring.enter().unwrap();
        let before = completions.len();
        completions.extend(std::iter::from_fn(|| ring.next()));
        if completions.len() == before {
            return completions;
        }
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Writes what the socket takes, beginning with this byte of the pattern; how many that were.
fn fill(socket: &mut UnixStream, bytes: &[u8]) -> usize {
    socket.set_nonblocking(true).unwrap();
    let mut written = 0;
    while let Ok(length) = socket.write(&bytes[written..])
        && length > 0
    {
        written += length;
    }
    written
}

/// Takes what was received from all of these, in order, and gives the buffers back.
fn take(ring: &mut Ring, completions: Vec<(Completion, bool)>, received: &mut Vec<u8>) {
    for (completion, _) in completions {
        if let Completion::Received(7, Ok(Some(filled))) = completion {
            received.extend_from_slice(&ring.lend(filled));
        }
    }
}

#[test]
fn receiving_ends_when_no_buffer_is_left_and_goes_on_without_a_loss() {
    let (_sleeper, mut ring) = ring();
    let (mut client, server) = UnixStream::pair().unwrap();
    let sent = pattern(BUFFERS_BYTES + 100_000);
    let (mut written, mut received, mut exhausted) = (0, Vec::new(), 0);
    let mut kept = Vec::new();
    ring.receive(7, server.as_fd());
    while received.len() < sent.len() {
        written += fill(&mut client, &sent[written..]);
        let arrived = completions(&mut ring);
        let ended = arrived.iter().any(|(completion, more)| match completion {
            Completion::Received(7, Err(Errno::NOBUFS)) => !more,
            other => {
                assert!(matches!(other, Completion::Received(7, Ok(Some(_)))), "{other:?}");
                false
            }
        });
        // Nothing is given back until the kernel has no buffer left.
        kept.extend(arrived);
        if ended {
            exhausted += 1;
            take(&mut ring, std::mem::take(&mut kept), &mut received);
            ring.receive(7, server.as_fd());
        } else if written == sent.len() {
            take(&mut ring, std::mem::take(&mut kept), &mut received);
        }
    }
    assert!(received == sent, "received other bytes than were sent");
    assert!(exhausted > 0, "the buffers were enough");
}

#[test]
fn a_cancelled_receive_says_so_and_loses_nothing() {
    let (_sleeper, mut ring) = ring();
    let (mut client, server) = UnixStream::pair().unwrap();
    ring.receive(7, server.as_fd());
    client.write_all(b"before").unwrap();
    let mut received = Vec::new();
    let arrived = completions(&mut ring);
    take(&mut ring, arrived, &mut received);
    ring.cancel(Operation::Receive(7));
    let ended = completions(&mut ring);
    assert!(matches!(ended[..], [(Completion::Received(7, Err(Errno::CANCELED)), false)]), "{ended:?}");
    client.write_all(b" and after").unwrap();
    assert!(completions(&mut ring).is_empty());
    ring.receive(7, server.as_fd());
    let arrived = completions(&mut ring);
    take(&mut ring, arrived, &mut received);
    assert_eq!(received, b"before and after");
}

#[test]
fn the_end_of_a_stream_and_its_reset_end_the_operation() {
    let (_sleeper, mut ring) = ring();
    let (client, server) = UnixStream::pair().unwrap();
    ring.receive(7, server.as_fd());
    drop(client);
    let ended = completions(&mut ring);
    assert!(matches!(ended[..], [(Completion::Received(7, Ok(None)), false)]), "{ended:?}");

    let (client, mut server) = UnixStream::pair().unwrap();
    server.write_all(b"unread: closing resets").unwrap();
    ring.receive(8, server.as_fd());
    drop(client);
    let ended = completions(&mut ring);
    assert!(matches!(ended[..], [(Completion::Received(8, Err(Errno::CONNRESET)), false)]), "{ended:?}");
}

#[test]
fn a_socket_that_takes_no_bytes_is_reported_once_when_it_does() {
    let (_sleeper, mut ring) = ring();
    let (mut client, mut server) = UnixStream::pair().unwrap();
    let written = fill(&mut server, &pattern(10 << 20));
    ring.watch_writable(7, server.as_fd());
    assert!(completions(&mut ring).is_empty());
    client.read_exact(&mut vec![0; written]).unwrap();
    let ended = completions(&mut ring);
    assert!(matches!(ended[..], [(Completion::Writable(7), false)]), "{ended:?}");
}

/// Sends on all of these by one call.
fn send(sends: &mut Sends, parts: &[(&UnixStream, &[IoSlice<'_>])]) -> Vec<Option<io::Result<usize>>> {
    let mut outgoing: Vec<_> = parts.iter().map(|(socket, slices)| Outgoing { socket: socket.as_fd(), slices, result: None }).collect();
    sends.send(&mut outgoing).unwrap();
    outgoing.into_iter().map(|outgoing| outgoing.result).collect()
}

#[test]
fn sends_tell_what_was_taken_of_each() {
    let mut sends = Sends::new().unwrap();
    let pairs: Vec<_> = (0..5).map(|_| UnixStream::pair().unwrap()).collect();
    let socket = |at: usize| &pairs[at].0;
    let large = pattern(10 << 20);
    let (whole, halves) = ([IoSlice::new(&large)], [IoSlice::new(b"a"), IoSlice::new(&large), IoSlice::new(b"c")]);
    let several = [IoSlice::new(b"sev"), IoSlice::new(b""), IoSlice::new(b"eral")];
    pairs[3].1.shutdown(std::net::Shutdown::Read).unwrap();
    let results = send(
        &mut sends,
        &[
            (socket(0), &[IoSlice::new(b"one")]),
            (socket(1), &several),
            (socket(2), &whole),
            (socket(3), &[IoSlice::new(b"nobody")]),
            (socket(4), &halves),
            (socket(0), &[]),
        ],
    );
    let [Some(Ok(3)), Some(Ok(7)), Some(Ok(short)), Some(Err(broken)), Some(Ok(short_halves)), None] = &results[..] else {
        panic!("{results:?}")
    };
    assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
    assert!((1..large.len()).contains(short) && (1..large.len()).contains(short_halves), "{results:?}");
    let refused = send(&mut sends, &[(socket(2), &whole), (socket(4), &halves), (socket(0), &[IoSlice::new(b" more")])]);
    assert!(matches!(&refused[..], [Some(Err(_)), Some(Err(_)), Some(Ok(5))]), "{refused:?}");
    // What was told to be taken is there, and nothing else.
    let received = |at: usize| {
        pairs[at].0.shutdown(std::net::Shutdown::Write).unwrap();
        let mut bytes = Vec::new();
        (&pairs[at].1).read_to_end(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(received(0), b"one more");
    assert_eq!(received(1), b"several");
    assert!(received(2) == large[..*short], "other bytes were sent");
    assert!(received(4) == [b"a", &large[..short_halves - 1]].concat(), "other bytes were sent");
}

#[test]
fn as_many_sends_as_one_call_takes() {
    let mut sends = Sends::new().unwrap();
    let (client, server) = UnixStream::pair().unwrap();
    let bytes = pattern(sends::AT_ONCE);
    let slices: Vec<_> = bytes.chunks(1).map(|byte| [IoSlice::new(byte), IoSlice::new(b".")]).collect();
    let parts: Vec<_> = slices.iter().map(|slices| (&client, &slices[..])).collect();
    for _ in 0..3 {
        assert!(send(&mut sends, &parts).iter().all(|result| matches!(result, Some(Ok(2)))));
        let mut received = vec![0; 2 * bytes.len()];
        (&server).read_exact(&mut received).unwrap();
        assert_eq!(received.iter().copied().step_by(2).collect::<Vec<_>>(), bytes);
    }
}

#[test]
fn what_was_accepted_before_the_end_is_closed_with_the_ring() {
    let (_sleeper, mut ring) = ring();
    let listener = support::listen().unwrap();
    let connect = |listener: &UnixListener| UnixStream::connect_addr(&listener.local_addr().unwrap()).unwrap();
    ring.accept(listener.as_fd(), true);
    ring.enter().unwrap();
    let mut accepted = connect(&listener);
    let mut received = UnixStream::pair().unwrap();
    ring.receive(7, received.1.as_fd());
    received.0.write_all(b"never taken").unwrap();
    ring.enter().unwrap();
    drop(ring);
    assert_eq!(accepted.read(&mut [0]).unwrap(), 0, "the accepted socket leaked");
    // Nobody accepts any more.
    let mut waiting = connect(&listener);
    waiting.set_nonblocking(true).unwrap();
    assert_eq!(waiting.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn all_buffers_are_the_kernels_again() {
    let (_sleeper, mut ring) = ring();
    assert_eq!(ring.buffers_missing(), Some(0));
    let (mut client, server) = UnixStream::pair().unwrap();
    ring.receive(7, server.as_fd());
    client.write_all(b"one").unwrap();
    let arrived = completions(&mut ring);
    assert_eq!(ring.buffers_missing(), Some(1));
    take(&mut ring, arrived, &mut Vec::new());
    assert_eq!(ring.buffers_missing(), Some(0));
}

#[test]
fn a_sleep_ends_by_a_wake_by_a_completion_or_in_time() {
    let (mut sleeper, mut ring) = ring();
    // In time, and again: the read of the eventfd goes on from one sleep to the next.
    sleeper.sleep(Some(Duration::from_millis(1))).unwrap();
    sleeper.sleep(Some(Duration::from_millis(1))).unwrap();
    let wake = sleeper.waker();
    // Before the sleep and during it.
    wake();
    sleeper.sleep(None).unwrap();
    let waking = thread::spawn(wake);
    sleeper.sleep(None).unwrap();
    waking.join().unwrap();

    let (mut client, server) = UnixStream::pair().unwrap();
    ring.receive(7, server.as_fd());
    ring.announce(true);
    ring.enter().unwrap();
    let writing = thread::spawn(move || {
        client.write_all(b"!").unwrap();
        client
    });
    sleeper.sleep(None).unwrap();
    let _client = writing.join().unwrap();
    let mut received = Vec::new();
    let arrived = completions(&mut ring);
    take(&mut ring, arrived, &mut received);
    assert_eq!(received, b"!");
}
