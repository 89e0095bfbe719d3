//! `fantail-load`: puts load on any WebSocket server. So far it has one scenario, a closed loop of echoes: every connection sends a message and
//! sends the next when the whole answer has come. It uses the codec as a client and never the server.

mod peer;

use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

use mimalloc::MiMalloc;
use peer::{Peer, Url};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const USAGE: &str = "usage: fantail-load echo ws://HOST:PORT/PATH [-c CONNECTIONS (50)] [-n MESSAGES (100000)] [-s BYTES (64)]";

/// A connection that is silent for so long is an error, so that every run ends.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Echo {
    url: Url,
    connections: usize,
    messages: usize,
    bytes: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let echo = match Echo::parse(&arguments) {
        Ok(echo) => echo,
        Err(error) => {
            eprintln!("fantail-load: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match echo.run() {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("fantail-load: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Echo {
    fn parse(arguments: &[String]) -> Result<Echo, String> {
        let [scenario, url, flags @ ..] = arguments else { return Err("expected a scenario and a URL".into()) };
        if scenario != "echo" {
            return Err(format!("unknown scenario {scenario:?}: expected echo"));
        }
        let mut echo = Echo { url: Url::parse(url)?, connections: 50, messages: 100_000, bytes: 64 };
        for pair in flags.chunks(2) {
            let [flag, value] = pair else { return Err(format!("{}: expected a value after it", pair[0])) };
            let number = value.parse().map_err(|_| format!("{flag} {value:?}: expected a whole number"))?;
            match flag.as_str() {
                "-c" if number > 0 => echo.connections = number,
                "-c" => return Err("-c: expected at least 1".into()),
                "-n" => echo.messages = number,
                "-s" => echo.bytes = number,
                _ => return Err(format!("unknown flag {flag:?}: expected -c, -n or -s")),
            }
        }
        Ok(echo)
    }

    /// Opens the connections, then goes round them until all messages have come back.
    fn run(&self) -> Result<String, String> {
        let opening = Instant::now();
        let mut peers = (0..self.connections).map(|_| Peer::open(&self.url, SILENCE_MAX)).collect::<Result<Vec<_>, _>>()?;
        let opened = opening.elapsed();
        let echoing = Instant::now();
        let mut left = self.messages;
        while left > 0 {
            let round = left.min(peers.len());
            for (i, peer) in peers[..round].iter_mut().enumerate() {
                peer.send(&self.message(left - i))?;
            }
            for (i, peer) in peers[..round].iter_mut().enumerate() {
                peer.expect(&self.message(left - i))?;
            }
            left -= round;
        }
        let echoed = echoing.elapsed();
        peers.into_iter().try_for_each(Peer::close)?;
        let rate = |count: usize, time: Duration| count as f64 / time.as_secs_f64();
        Ok(format!(
            "connections={} opened_per_second={:.0} messages={} bytes={} echoes_per_second={:.0}",
            self.connections,
            rate(self.connections, opened),
            self.messages,
            self.bytes,
            rate(self.messages, echoed),
        ))
    }

    /// A payload that differs from message to message, so that an answer to another one is noticed.
    fn message(&self, number: usize) -> Vec<u8> {
        number.to_le_bytes().into_iter().cycle().take(self.bytes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Echo, String> {
        Echo::parse(&arguments.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn command_lines() {
        let url = Url::parse("ws://127.0.0.1:8000/echo").unwrap();
        assert_eq!(parse("echo ws://127.0.0.1:8000/echo -c 3 -s 0"), Ok(Echo { url, connections: 3, messages: 100_000, bytes: 0 }));
        for (arguments, error) in [
            ("echo", "expected a scenario and a URL"),
            ("fanout ws://a:1/", "unknown scenario \"fanout\": expected echo"),
            ("echo ws://a:1/ -c", "-c: expected a value after it"),
            ("echo ws://a:1/ -c 0", "-c: expected at least 1"),
            ("echo ws://a:1/ -c x", "-c \"x\": expected a whole number"),
            ("echo ws://a:1/ -d 5", "unknown flag \"-d\": expected -c, -n or -s"),
            ("echo http://a:1/", "\"http://a:1/\": expected ws://HOST:PORT/PATH"),
        ] {
            assert_eq!(parse(arguments), Err(error.to_owned()));
        }
    }
}
