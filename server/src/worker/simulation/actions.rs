//! What clients do: they connect, subscribe, change their minds, read and go; each time with what the model says that they are to get.

use std::{
    net::TcpStream,
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use super::{
    client::{Client, Kind, Pending, Tracker},
    world::{CHANNELS, WORKERS, World},
};
use crate::worker::Input;

/// Updates a second; 0: all of them.
const RATES: [u32; 4] = [0, 1, 20, 200];

impl World {
    pub fn connect(&mut self, slot: usize) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        // The smallest buffer that the kernel gives, so that it soon refuses.
        socket2::SockRef::from(&ours).set_send_buffer_size(1).unwrap();
        let at = self.random.below(WORKERS);
        let (session, is_fast) = ([Kind::Raw, Kind::Stream, Kind::Client, Kind::Client][self.random.below(4)], self.one_in(2));
        let key = self.workers[at].0.accepted(TcpStream::from(OwnedFd::from(ours)));
        let mut client = Client::new(at, key, session, is_fast, theirs);
        let count = match session {
            Kind::Raw => 1,
            Kind::Stream => 1 + self.random.below(3),
            Kind::Client => 0,
        };
        let first = self.random.below(CHANNELS.len());
        let wanted: Vec<usize> = (0..count).map(|more| (first + more) % CHANNELS.len()).collect();
        let names: Vec<&str> = wanted.iter().map(|&channel| CHANNELS[channel]).collect();
        let path = match session {
            Kind::Raw => format!("/raw/{}", names[0]),
            Kind::Stream => format!("/stream?channels={}", names.join(",")),
            Kind::Client => "/connection/websocket".into(),
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        client.expect_bytes(500);
        let now = self.now();
        self.workers[at].0.set_time(now, self.began);
        self.workers[at].0.received(key, &mut request.into_bytes());
        for channel in wanted {
            self.joined(channel);
            let (snapshot, _) = self.channels[channel].snapshot(None, self.now_ms);
            let (life, position) = (self.channels[channel].life().0, self.channels[channel].life().1.top());
            client.expect_bytes(self.bytes_of(channel, &snapshot));
            client.subscribed.insert(channel);
            client.trackers.insert(channel, Tracker::new(life, snapshot, position, false, None));
        }
        self.clients[slot] = Some(client);
        if session == Kind::Client {
            self.command(slot, "\"connect\":{}", Pending::Nothing);
        }
    }

    /// Whether the server takes commands of this client.
    fn may_command(&self, slot: usize) -> bool {
        let Some(Client { session: Kind::Client, worker, key: Some(key), .. }) = self.clients[slot] else { return false };
        let worker = &self.workers[worker].0;
        worker.input(key) == Input::Now && worker.connections[key].is_open()
    }

    fn command(&mut self, slot: usize, command: &str, pending: Pending) {
        let now = self.now();
        let client = self.clients[slot].as_mut().unwrap();
        client.next_id += 1;
        client.expect_bytes(500);
        // Long enough for a length of 16 bits.
        let text = format!("{:130}", format!("{{\"id\":{},{command}}}", client.next_id));
        client.pending.push_back((client.next_id, pending));
        // Masked with zeros.
        let mut frame = vec![0x81, 0x80 | 126, (text.len() >> 8) as u8, text.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        let worker = &mut self.workers[client.worker].0;
        worker.set_time(now, self.began);
        worker.received(client.key.unwrap(), &mut frame);
    }

    pub fn subscribe(&mut self, slot: usize) {
        let at = self.random.below(CHANNELS.len());
        if !self.may_command(slot) || self.clients[slot].as_ref().unwrap().subscribed.contains(&at) {
            return;
        }
        let (delta, by_id, rate) = (self.one_in(2), self.one_in(2), if self.one_in(3) { RATES[self.random.below(RATES.len())] } else { 0 });
        let start =
            self.remembered.get(&(slot, at)).cloned().filter(|_| !self.one_in(4)).map(|(offset, epoch)| match self.random.below(12) {
                0 => (offset + 1, epoch),
                1 => (offset.saturating_sub(1), epoch),
                2 => (offset, "12345678".into()),
                3 => (offset, String::new()),
                _ => (offset, epoch),
            });
        let mut command = format!("\"subscribe\":{{\"channel\":\"{}\",\"recoverable\":true,\"positioned\":true", CHANNELS[at]);
        if let Some((offset, epoch)) = &start {
            command += &format!(",\"recover\":true,\"offset\":{offset},\"epoch\":\"{epoch}\"");
        }
        if delta {
            command += ",\"delta\":\"fossil\"";
        }
        if rate > 0 {
            command += &format!(",\"data\":{{\"rate\":{rate}}}");
        }
        command += &format!(",\"join_leave\":true,\"flag\":{}}}", u8::from(by_id));
        // What the model needs to know is known when the hub has been asked.
        self.command(slot, &command, Pending::Nothing);
        self.joined(at);
        let start = start.as_ref().map(|(offset, epoch)| (*offset, &**epoch));
        let (snapshot, recovered) = self.channels[at].snapshot(start, self.now_ms);
        let asked = start.map(|(offset, _)| offset).filter(|_| recovered && !snapshot.is_empty());
        let (life, top) = (self.channels[at].life().0, self.channels[at].life().1.top());
        let interval_ms = (rate > 0).then(|| (1000 / rate).max(self.channels[at].options.flush.as_millis() as u32));
        let bytes = self.bytes_of(at, &snapshot);
        let client = self.clients[slot].as_mut().unwrap();
        client.expect_bytes(bytes);
        client.subscribed.insert(at);
        client.pending.back_mut().unwrap().1 =
            Pending::Subscribe(at, Box::new(Tracker::new(life, snapshot, top, delta, interval_ms)), recovered, asked.unwrap_or(top));
        self.presence_changes(at);
    }

    fn presence_changes(&mut self, channel: usize) {
        if self.channels[channel].options.join_leave {
            self.clients
                .iter_mut()
                .flatten()
                .filter(|client| client.subscribed.contains(&channel))
                .for_each(|client| client.expect_bytes(300));
        }
    }

    /// A channel of this client, where it may command.
    fn subscribed(&mut self, slot: usize) -> Option<usize> {
        let client = self.clients[slot].as_ref().filter(|_| self.may_command(slot))?;
        let count = client.subscribed.len();
        let at = if count == 0 { return None } else { self.random.below(count) };
        self.clients[slot].as_ref()?.subscribed.iter().nth(at).copied()
    }

    pub fn unsubscribe(&mut self, slot: usize) {
        let Some(channel) = self.subscribed(slot) else { return };
        self.remember(slot);
        self.command(slot, &format!("\"unsubscribe\":{{\"channel\":\"{}\"}}", CHANNELS[channel]), Pending::Unsubscribe(channel));
        self.clients[slot].as_mut().unwrap().subscribed.remove(&channel);
        self.presence_changes(channel);
    }

    pub fn change_rate(&mut self, slot: usize) {
        let Some(channel) = self.subscribed(slot) else { return };
        let rate = RATES[self.random.below(RATES.len())];
        let wish = if rate == 0 { "null".into() } else { rate.to_string() };
        let data = format!("{{\"channel\":\"{}\",\"rate\":{wish}}}", CHANNELS[channel]);
        let client = self.clients[slot].as_mut().unwrap();
        // It holds from now on, though the client knows it later.
        client.trackers.get_mut(&channel).into_iter().for_each(Tracker::changes_rate);
        client.pending.iter_mut().for_each(|(_, pending)| match pending {
            Pending::Subscribe(at, tracker, ..) if *at == channel => tracker.changes_rate(),
            _ => {}
        });
        let waiting = self.channels[channel].life().1.newest();
        let bytes = self.bytes_of(channel, &waiting);
        self.clients[slot].as_mut().unwrap().expect_bytes(bytes);
        self.command(slot, &format!("\"rpc\":{{\"method\":\"sub.rate\",\"data\":{data}}}"), Pending::Nothing);
    }

    /// Notes where the client stands, to recover from there.
    fn remember(&mut self, slot: usize) {
        let Some(client) = &self.clients[slot] else { return };
        for (&channel, tracker) in &client.trackers {
            self.remembered.insert((slot, channel), (tracker.last, self.channels[channel].lives[tracker.life].epoch.clone()));
        }
    }

    pub fn cut(&mut self, slot: usize) {
        self.remember(slot);
        let Some(client) = self.clients[slot].take() else { return };
        if let Some(key) = client.key {
            let worker = &mut self.workers[client.worker].0;
            if self.random.below(3) == 0 { worker.ended(key) } else { worker.failed(key) }
        }
        client.subscribed.iter().for_each(|&channel| self.presence_changes(channel));
    }

    pub fn read(&mut self, slot: usize, bytes: usize) {
        if let Some(client) = &mut self.clients[slot]
            && !client.read(bytes, &self.channels, &self.serials)
        {
            self.cut(slot);
        }
    }
}
