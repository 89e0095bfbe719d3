use proptest::prelude::*;

use super::*;

/// A socket that takes only so many bytes of each call, then refuses until there is more room.
#[derive(Default)]
struct Slow {
    taken: Vec<u8>,
    room: VecDeque<usize>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let room = self.room.pop_front().filter(|&room| room > 0).ok_or(ErrorKind::WouldBlock)?;
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(room).collect();
        self.taken.extend_from_slice(&all);
        Ok(all.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn shared(bytes: &[u8]) -> Rc<Shared> {
    Rc::new(Shared::new(bytes.into(), 1, 1))
}

#[test]
fn one_call_for_all_that_is_queued() {
    let (mut queue, mut ours, mut theirs) = (TurnQueue::default(), Queued::NOTHING, Queued::NOTHING);
    queue.own(&mut ours, |out| out.extend_from_slice(b"ab"));
    queue.own(&mut ours, |out| out.extend_from_slice(b"cd"));
    queue.own(&mut theirs, |out| out.extend_from_slice(b"xyz"));
    queue.shared(&mut ours, &shared(b"ef"), 0);
    queue.own(&mut ours, |out| out.extend_from_slice(b"gh"));
    queue.own_mut(0..1)[0] = b'A';
    let (mut socket, mut backlog) = (Slow { room: [100, 100].into(), ..Slow::default() }, None);
    let written = write(&mut socket, &mut backlog, &queue, ours, None).unwrap();
    assert_eq!((written, backlog.is_none()), (Written { bytes: 8, sends: 1, blocked: false }, true));
    write(&mut socket, &mut backlog, &queue, theirs, None).unwrap();
    assert_eq!(socket.taken, b"Abcdefghxyz");
}

#[test]
fn a_call_that_comes_after_full_ones_may_be_short() {
    let (mut queue, mut queued) = (TurnQueue::default(), Queued::NOTHING);
    let bytes: Vec<u8> = (0..200).collect();
    bytes.chunks(1).for_each(|byte| queue.shared(&mut queued, &shared(byte), 0));
    let (mut socket, mut backlog) = (Slow { room: [64, 64, 7, 0].into(), ..Slow::default() }, None);
    let written = write(&mut socket, &mut backlog, &queue, queued, None).unwrap();
    assert_eq!((written.bytes, written.blocked, backlog.as_ref().map(|backlog| backlog.bytes())), (135, true, Some(65)));
    assert_eq!(read(socket, backlog.unwrap()), bytes);
}

/// Writes this to a socket that takes three bytes, and returns the rest.
fn waiting(queue: &TurnQueue, queued: Queued) -> (Slow, Box<Backlog>) {
    let (mut socket, mut backlog) = (Slow { room: [3, 0].into(), ..Slow::default() }, None);
    assert!(write(&mut socket, &mut backlog, queue, queued, None).unwrap().blocked);
    (socket, backlog.unwrap())
}

/// What the peer has once it reads everything.
fn read(mut socket: Slow, backlog: Box<Backlog>) -> Vec<u8> {
    let mut backlog = Some(backlog);
    socket.room = std::iter::repeat_n(1000, 10).collect();
    write(&mut socket, &mut backlog, &TurnQueue::default(), Queued::NOTHING, None).unwrap();
    assert!(backlog.is_none());
    socket.taken
}

#[test]
fn what_has_begun_is_never_dropped() {
    let (mut queue, mut queued) = (TurnQueue::default(), Queued::NOTHING);
    for subscription in 0..3 {
        queue.shared(&mut queued, &shared(b"0123456789"), subscription);
    }
    queue.own(&mut queued, |out| out.extend_from_slice(b"pong"));
    let (socket, mut backlog) = waiting(&queue, queued);
    let mut asked = Vec::new();
    backlog.drop_shared(|subscription, shared, bytes| {
        asked.push((subscription, shared.bytes().len(), bytes));
        true
    });
    assert_eq!((asked, backlog.bytes()), (vec![(1, 10, 31), (2, 10, 21)], 11), "with the bytes that wait by then");
    assert_eq!(read(socket, backlog), b"0123456789pong");
}

#[test]
fn what_is_not_to_be_dropped_stays_in_its_order() {
    let (mut queue, mut queued) = (TurnQueue::default(), Queued::NOTHING);
    queue.own(&mut queued, |out| out.extend_from_slice(b"abc"));
    for text in [b"12", b"34", b"56"] {
        queue.shared(&mut queued, &shared(text), text[0].into());
        queue.own(&mut queued, |out| out.push(b'-'));
    }
    let (socket, mut backlog) = waiting(&queue, queued);
    backlog.drop_shared(|subscription, _, _| subscription == u64::from(b'3'));
    assert_eq!(backlog.bytes(), 7);
    assert_eq!(read(socket, backlog), b"abc12--56-", "a segment that has not begun may be the first");
}

#[test]
fn what_was_queued_apart_comes_behind() {
    for (first, second) in [("", ""), ("ab", ""), ("", "cd"), ("ab", "cd")] {
        let (mut queue, mut queued, mut apart) = (TurnQueue::default(), Queued::NOTHING, Queued::NOTHING);
        for text in second.as_bytes().chunks(1) {
            queue.shared(&mut apart, &shared(text), 0);
        }
        queue.own(&mut queued, |out| out.extend_from_slice(first.as_bytes()));
        queue.append(&mut queued, apart);
        queue.own(&mut queued, |out| out.push(b'.'));
        let (mut socket, mut backlog) = (Slow { room: [100].into(), ..Slow::default() }, None);
        write(&mut socket, &mut backlog, &queue, queued, None).unwrap();
        assert_eq!(socket.taken, format!("{first}{second}.").as_bytes());
    }
}

proptest! {
    #[test]
    fn whatever_the_socket_takes_nothing_is_lost(
        turns in prop::collection::vec((any::<bool>(), prop::collection::vec((any::<bool>(), 1..40usize), 0..100)), 1..6),
        room in prop::collection::vec(0..60usize, 0..60),
    ) {
        let (mut socket, mut backlog, mut expected) = (Slow { room: room.into(), ..Slow::default() }, None, Vec::new());
        for (by_driver, segments) in turns {
            let (mut queue, mut queued) = (TurnQueue::default(), Queued::NOTHING);
            for (own, length) in segments {
                let bytes: Vec<u8> = (0..length).map(|i| (expected.len() + i) as u8).collect();
                if own { queue.own(&mut queued, |out| out.extend_from_slice(&bytes)) } else { queue.shared(&mut queued, &shared(&bytes), 0) }
                expected.extend(bytes);
            }
            let mut slices = Vec::new();
            queue.gather(queued, &mut slices);
            // The first call may have been made already.
            let first = by_driver && backlog.is_none() && !slices.is_empty();
            let sent = first.then(|| socket.write_vectored(&slices));
            write(&mut socket, &mut backlog, &queue, queued, sent).unwrap();
            prop_assert_eq!(socket.taken.len() + backlog.as_ref().map_or(0, |backlog| backlog.bytes()), expected.len());
        }
        socket.room = std::iter::repeat_n(1000, 1000).collect();
        write(&mut socket, &mut backlog, &TurnQueue::default(), Queued::NOTHING, None).unwrap();
        prop_assert!(backlog.is_none());
        prop_assert_eq!(socket.taken, expected);
    }
}
