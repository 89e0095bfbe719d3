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

fn joined(bytes: &[u8]) -> Rc<Shared> {
    Rc::new(Shared::Joined(1, bytes.into()))
}

#[test]
fn one_call_for_all_that_is_queued() {
    let (mut queue, mut ours, mut theirs) = (TurnQueue::default(), Queued::NOTHING, Queued::NOTHING);
    queue.own(&mut ours, |out| out.extend_from_slice(b"ab"));
    queue.own(&mut ours, |out| out.extend_from_slice(b"cd"));
    queue.own(&mut theirs, |out| out.extend_from_slice(b"xyz"));
    queue.shared(&mut ours, &joined(b"ef"));
    queue.own(&mut ours, |out| out.extend_from_slice(b"gh"));
    queue.own_mut(0..1)[0] = b'A';
    let (mut socket, mut backlog) = (Slow { room: [100, 100].into(), ..Slow::default() }, None);
    let written = write(&mut socket, &mut backlog, &queue, ours, None).unwrap();
    assert_eq!((written, backlog.is_none()), (Written { bytes: 8, sends: 1, blocked: false }, true));
    write(&mut socket, &mut backlog, &queue, theirs, None).unwrap();
    assert_eq!(socket.taken, b"Abcdefghxyz");
}

#[test]
fn a_later_value_replaces_what_has_not_begun() {
    let (mut queue, mut queued) = (TurnQueue::default(), Queued::NOTHING);
    for _ in 0..3 {
        queue.shared(&mut queued, &joined(b"0123456789"));
    }
    queue.own(&mut queued, |out| out.extend_from_slice(b"pong"));
    let (mut socket, mut backlog) = (Slow { room: [3, 0].into(), ..Slow::default() }, None);
    assert!(write(&mut socket, &mut backlog, &queue, queued, None).unwrap().blocked);
    let waiting = backlog.as_mut().unwrap();
    assert_eq!((waiting.bytes(), waiting.drop_shared(), waiting.bytes()), (31, 2, 11));
    socket.room = [100].into();
    write(&mut socket, &mut backlog, &queue, Queued::NOTHING, None).unwrap();
    assert_eq!((socket.taken.as_slice(), backlog.is_none()), (&b"0123456789pong"[..], true));
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
                if own { queue.own(&mut queued, |out| out.extend_from_slice(&bytes)) } else { queue.shared(&mut queued, &joined(&bytes)) }
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
