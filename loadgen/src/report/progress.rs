//! The line on stderr that says how far a run is, while it runs. Imports `units`.

use std::{
    io::{self, Stderr, Write},
    time::Duration,
};

use crate::units::rounded_count;

/// Between two drawings.
const INTERVAL: Duration = Duration::from_secs(1);

/// Carriage return, then "erase to the end of the line" (ECMA-48 EL).
const ERASE_LINE: &str = "\r\x1b[K";

/// A line that is drawn over itself. [`Progress::show`] as often as convenient, [`Progress::finish`] before anything else is printed.
#[derive(Debug)]
pub struct Progress<W = Stderr> {
    /// `None`: nothing is drawn.
    out: Option<W>,
    /// When a line was last drawn, and what had been received by then.
    drawn: Option<(Duration, u64)>,
}

/// How far a run is. All counts are since it began.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// Since it began.
    pub elapsed: Duration,
    /// Connections opened.
    pub opened: u64,
    /// Connections wanted.
    pub target: u64,
    /// Messages or publications sent.
    pub sent: u64,
    /// Answers or deliveries received.
    pub received: u64,
    /// Connections that failed.
    pub failed: u64,
    /// What it is at, such as `warm-up`.
    pub phase: &'a str,
}

impl Progress {
    /// A line on stderr that is drawn only if `enabled`, that is if stderr is a terminal.
    pub fn new(enabled: bool) -> Progress {
        Progress { out: enabled.then(io::stderr), drawn: None }
    }
}

impl<W: Write> Progress<W> {
    /// Draws the line if the run, or the line drawn last, is a second old. That stderr fails is not worth a word.
    pub fn show(&mut self, snapshot: &Snapshot<'_>) {
        if let Some(out) = &mut self.out
            && let Some(line) = line(&mut self.drawn, snapshot)
        {
            let _ = write!(out, "{ERASE_LINE}{line}").and_then(|()| out.flush());
        }
    }

    /// Clears the line; the next run starts a new one.
    pub fn finish(&mut self) {
        if let Some(out) = &mut self.out
            && self.drawn.take().is_some()
        {
            let _ = write!(out, "{ERASE_LINE}").and_then(|()| out.flush());
        }
    }
}

/// The line that is due, if one is. Its rate is that since the one `drawn` last: when that was, and what had been received by then.
fn line(drawn: &mut Option<(Duration, u64)>, snapshot: &Snapshot<'_>) -> Option<String> {
    let Snapshot { elapsed, opened, target, sent, received, failed, phase } = *snapshot;
    let (since, before) = drawn.unwrap_or_default();
    let interval = elapsed.saturating_sub(since);
    if interval < INTERVAL {
        return None;
    }
    *drawn = Some((elapsed, received));
    let mut line = format!("{} s  {phase}  opened {opened}/{target}", elapsed.as_secs());
    if sent > 0 || received > 0 {
        let rate = received.saturating_sub(before) as f64 / interval.as_secs_f64();
        let [sent, received, rate] = [sent as f64, received as f64, rate].map(rounded_count);
        line += &format!("  sent {sent}  received {received} ({rate}/s)");
    }
    Some(line + &format!("  failed {failed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENING: Snapshot<'_> =
        Snapshot { elapsed: Duration::from_secs(1), opened: 12, target: 5000, sent: 0, received: 0, failed: 1, phase: "opening" };

    fn drawn(snapshots: &[Snapshot<'_>]) -> String {
        let mut progress = Progress { out: Some(Vec::new()), drawn: None };
        snapshots.iter().for_each(|snapshot| progress.show(snapshot));
        progress.finish();
        String::from_utf8(progress.out.unwrap()).unwrap().replace(ERASE_LINE, "\n")
    }

    #[test]
    fn once_a_second_with_the_rate_since_the_last_and_cleared_at_the_end() {
        let at = |ms, received| {
            let elapsed = Duration::from_millis(ms);
            Snapshot { elapsed, opened: 5000, sent: 120_000, received, phase: "measuring", ..OPENING }
        };
        let early = Snapshot { elapsed: Duration::from_millis(999), ..OPENING };
        let expected = "
1 s  opening  opened 12/5000  failed 1
3 s  measuring  opened 5000/5000  sent 120k  received 100k (50.0k/s)  failed 1
5 s  measuring  opened 5000/5000  sent 120k  received 119k (9.50k/s)  failed 1
";
        assert_eq!(drawn(&[early, OPENING, at(1999, 10), at(3000, 100_000), at(5000, 119_000), at(5999, 120_000)]), expected);
    }

    #[test]
    fn the_next_run_counts_from_zero() {
        let mut progress = Progress { out: Some(Vec::new()), drawn: None };
        progress.show(&Snapshot { elapsed: Duration::from_secs(60), ..OPENING });
        progress.finish();
        progress.show(&OPENING);
        assert_eq!(progress.drawn, Some((OPENING.elapsed, 0)));
    }

    #[test]
    fn nothing_is_drawn_where_it_is_not_enabled() {
        let mut progress = Progress::new(false);
        progress.show(&OPENING);
        assert_eq!(progress.drawn, None);
    }

    #[test]
    fn a_run_that_ends_within_a_second_draws_nothing() {
        assert_eq!(drawn(&[Snapshot { elapsed: Duration::from_millis(500), ..OPENING }]), "");
    }
}
