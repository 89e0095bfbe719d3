//! The command line, understood or refused. Owns the wording of usage errors. Imports `flags` and `build`.

use std::ffi::OsString;

use clap::{
    CommandFactory, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{
    Plan, build,
    flags::{self, Flags},
};
use crate::url::Url;

/// What `fantail-load` is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Run a scenario.
    Run(Box<Plan>),
    /// Look at this machine.
    Doctor {
        /// The server that is to be measured.
        url: Option<Url>,
        /// Connections that are to be opened.
        connections: usize,
    },
    /// Print the schema of the reports.
    Schema,
}

/// A command line that leads to no run: it asks for help or for the version, or it cannot be followed.
#[derive(Debug, PartialEq, Eq)]
pub struct Usage {
    /// What to print, without a line end: help for stdout, or one line for stderr.
    pub text: String,
    /// 0 for help, 2 for an error.
    pub exit_code: u8,
}

const HELP: u8 = 0;
const ERROR: u8 = 2;

impl Command {
    /// Reads a command line, the program's name first. Reads the file of `-f`; touches nothing else.
    pub fn from_arguments(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Command, Usage> {
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let known = |name: &&str| Flags::command().find_subcommand(name).is_some();
        let help = match arguments.get(1).and_then(|name| name.to_str()).filter(known) {
            Some(command) => format!("fantail-load {command} --help"),
            None => "fantail-load --help".to_owned(),
        };
        let flags = Flags::try_parse_from(arguments).map_err(|error| Usage::from_clap(&error, &help))?;
        let plan = match flags.command {
            flags::Command::Connect(flags) => build::connect(*flags),
            flags::Command::Echo(flags) => build::echo(*flags),
            flags::Command::Fanout(flags) => build::fanout(*flags),
            flags::Command::Idle(flags) => build::idle(*flags),
            flags::Command::Schema => return Ok(Command::Schema),
            flags::Command::Doctor(flags) => return Ok(Command::Doctor { url: flags.url, connections: flags.connections }),
        };
        plan.map(|plan| Command::Run(Box::new(plan))).map_err(|error| Usage::refused(&error, &help))
    }
}

impl Usage {
    fn from_clap(error: &clap::Error, help: &str) -> Usage {
        let text = error.to_string();
        if !error.use_stderr() {
            return Usage { text: text.trim_end().to_owned(), exit_code: HELP };
        }
        let elsewhere = commands_with_the_flag(error);
        // Clap's paragraphs in one line, without the usage, and without the tip to take a mistaken flag for a value: no value here begins with `-`.
        let is_said = |paragraph: &&str| {
            let start = paragraph.trim_start();
            let is_tip = start.starts_with("tip: to pass '") || (!elsewhere.is_empty() && start.starts_with("tip: "));
            !is_tip && !start.starts_with("Usage:") && !start.starts_with("For more information")
        };
        let said = text.trim_start_matches("error: ").split("\n\n").filter(is_said);
        let mut lines: Vec<_> = said.map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        if !elsewhere.is_empty() {
            lines.push(format!("it is a flag of {}", elsewhere.join(", ")));
        }
        Usage::refused(&lines.join("; "), help)
    }

    fn refused(error: &str, help: &str) -> Usage {
        Usage { text: format!("{error} (see `{help}`)"), exit_code: ERROR }
    }
}

/// Where a flag is not known: the other commands that have it, by its whole name or its letter.
fn commands_with_the_flag(error: &clap::Error) -> Vec<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg).filter(|_| error.kind() == ErrorKind::UnknownArgument) else {
        return Vec::new();
    };
    let is_it = |argument: &clap::Arg| match flag.strip_prefix("--") {
        Some(name) => argument.get_long_and_visible_aliases().is_some_and(|names| names.contains(&name)),
        None => argument.get_short().is_some_and(|letter| flag.strip_prefix('-') == Some(letter.encode_utf8(&mut [0; 4]))),
    };
    let flags = Flags::command();
    let commands = flags.get_subcommands().filter(|command| command.get_arguments().any(is_it));
    commands.map(|command| command.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{CATALOGUE, Scenario};

    fn usage(line: &str) -> Usage {
        Command::from_arguments(line.split(' ')).unwrap_err()
    }

    #[test]
    fn usage_errors_are_one_line_that_shows_the_way() {
        for (line, error) in [
            (
                "fantail-load",
                "'fantail-load' requires a subcommand but one was not provided [subcommands: connect, echo, fanout, idle, doctor, schema, help]",
            ),
            ("fantail-load ecko ws://a", "unrecognized subcommand 'ecko'; tip: a similar subcommand exists: 'echo'"),
        ] {
            assert_eq!(usage(line), Usage { text: format!("{error} (see `fantail-load --help`)"), exit_code: 2 });
        }
        for (line, error) in [
            ("", "the following required arguments were not provided: <URL>..."),
            (" ws://a -c", "a value is required for '--connections <N>' but none was supplied"),
            (" ws://a -c 0", "invalid value '0' for '--connections <N>': expected 1 to 1000000"),
            (" ws://a -t 30s", "invalid value '30s' for '--threads <N>': -t is a number of threads, did you mean -d 30s?"),
            (
                " ws://a -d 10",
                "invalid value '10' for '--duration <TIME>': expected a time with its unit (ns, us, ms, s, m or h), as in 10s or 500ms",
            ),
            (" ws://a --treshold loss==0", "unexpected argument '--treshold' found; tip: a similar argument exists: '--threshold'"),
            (" ws://a -c 1 -c 2", "the argument '--connections <N>' cannot be used multiple times"),
            (" ws://a --text --binary", "the argument '--text' cannot be used with '--binary'"),
            (" a:1", "invalid value 'a:1' for '<URL>...': expected ws://HOST:PORT/PATH or wss://HOST:PORT/PATH"),
            (" http://a", "invalid value 'http://a' for '<URL>...': expected ws://HOST:PORT/PATH or wss://HOST:PORT/PATH"),
            (" ws://a --publish-http http://a", "unexpected argument '--publish-http' found; it is a flag of fanout"),
            (" ws://a --publish x", "unexpected argument '--publish' found; it is a flag of fanout"),
            (" ws://a --qqqq", "unexpected argument '--qqqq' found"),
            (" ws://a -x", "unexpected argument '-x' found"),
            (" ws://a --threshold los==0", "--threshold \"los==0\": unknown metric \"los\": did you mean \"loss\"?"),
        ] {
            let line = format!("fantail-load echo{line}");
            assert_eq!(usage(&line), Usage { text: format!("{error} (see `fantail-load echo --help`)"), exit_code: 2 }, "{line}");
        }
        assert!(usage("fantail-load echo ws://a --preset x").text.contains("possible values: fantail, centrifugo, uws-echo, ws-echo"));
    }

    #[test]
    fn a_flag_of_another_command_is_refused() {
        for (line, flag, commands) in [
            ("echo ws://a --publishers 2", "--publishers", "fanout"),
            ("echo ws://a --close", "--close", "connect"),
            ("fanout ws://a --steps 5", "--steps", "idle"),
            ("connect ws://a -R 5", "-R", "echo, fanout"),
            ("connect ws://a -s 5", "-s", "echo, fanout"),
            ("idle ws://a -d 5s", "-d", "connect, echo, fanout"),
            ("doctor --seed 5", "--seed", "connect, echo, fanout, idle"),
        ] {
            let error = format!("unexpected argument '{flag}' found; it is a flag of {commands} (see `");
            let said = usage(&format!("fantail-load {line}")).text;
            assert!(said.starts_with(&error), "{said}");
        }
    }

    #[test]
    fn help_explains_the_metrics_of_its_scenario_alone() {
        for scenario in [Scenario::Connect, Scenario::Echo, Scenario::Fanout, Scenario::Idle] {
            let help = usage(&format!("fantail-load {} --help", scenario.name()));
            assert_eq!(help.exit_code, 0);
            for metric in CATALOGUE {
                let listed = help
                    .text
                    .lines()
                    .any(|line| line.trim_start().starts_with(&format!("{} ", metric.name)) && line.contains(metric.meaning));
                assert_eq!(listed, metric.scenarios.contains(&scenario), "{} in {}", metric.name, scenario.name());
            }
        }
        let version = usage("fantail-load --version");
        assert_eq!((version.text.as_str(), version.exit_code), (concat!("fantail-load ", env!("CARGO_PKG_VERSION")), 0));
    }

    #[test]
    fn the_doctor_needs_no_url() {
        let doctor = |line: &str| match Command::from_arguments(line.split(' ')) {
            Ok(Command::Doctor { url, connections }) => (url.map(|url| url.to_string()), connections),
            other => panic!("{other:?}"),
        };
        assert_eq!(doctor("fantail-load doctor"), (None, 1000));
        assert_eq!(doctor("fantail-load doctor ws://a -c 15k"), (Some("ws://a/".into()), 15_000));
    }
}
