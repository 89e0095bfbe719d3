//! The command line: which command, and which settings it overrides.
//!
//! Owns the commands, their help, and the wording of usage errors. Imports `config` and, for what a token shall say, `auth`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::{env, fmt};

use clap::{Args, Parser, Subcommand};
use serde_json::value::RawValue;

use crate::auth::Content;
use crate::config::{Config, ConfigError, PROFILES, catalogue, environment, load};

/// A WebSocket edge server for fan-out.
#[derive(Debug, Parser)]
#[command(name = "fantail", version, arg_required_else_help = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What `fantail` is asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM or SIGINT
    #[command(after_help = "`fantail serve --help` lists every setting.", after_long_help = settings_help())]
    Serve(ServeArgs),
    /// Serve a page that shows what the server does, with feeds to watch; what clients send is published
    #[command(after_help = "`fantail serve --help` lists every setting. Here hub.publish is \"anyone\" by default.")]
    Demo(ServeArgs),
    /// Say whether a configuration file is valid, whatever the environment
    CheckConfig {
        /// The TOML file
        file: PathBuf,
    },
    /// Print every setting with its default and its meaning, as a file for --config
    DefaultConfig,
    /// Mint and check tokens (JWT), by the keys in [auth] of the configuration that `fantail serve` would have
    Token(TokenArgs),
}

/// The flags of the commands that serve. They win over environment and file.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Public address and port
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address and port of the publish API
    #[arg(long, value_name = "ADDR")]
    internal: Option<String>,
    /// Worker threads; 0: one per core
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// How the kernel reports events: auto, uring or epoll
    #[arg(long, value_name = "DRIVER")]
    driver: Option<String>,
    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ServeArgs {
    /// The configuration for these flags, the process's environment and the file that `--config` names. `base` replaces defaults.
    pub fn load(&self, base: &[(&str, &str)]) -> Result<Config, ConfigError> {
        load(base, self.config.as_deref(), environment(), &self.settings())
    }

    /// The keys that flags set. Values go through as text, so that a flag and a variable are judged and refused alike.
    fn settings(&self) -> Vec<(&'static str, &str)> {
        let flags = [("listen", &self.listen), ("internal", &self.internal), ("workers", &self.workers), ("driver", &self.driver)];
        flags.into_iter().filter_map(|(key, text)| Some((key, text.as_deref()?))).collect()
    }
}

/// A command about tokens, and the configuration that it is meant for.
#[derive(Args, Debug)]
pub struct TokenArgs {
    /// TOML file with settings
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: TokenCommand,
}

impl TokenArgs {
    /// The configuration for these flags and the process's environment.
    pub fn load(&self) -> Result<Config, ConfigError> {
        load(&[], self.config.as_deref(), environment(), &[])
    }
}

/// What is done about a token.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Print a token to connect with
    Connection {
        /// Channel to subscribe to at once; may be repeated
        #[arg(long = "channel", value_name = "CHANNEL")]
        channels: Vec<String>,
        #[command(flatten)]
        mint: MintArgs,
    },
    /// Print a token to subscribe with to one channel
    Subscription {
        /// The channel
        #[arg(long, value_name = "CHANNEL")]
        channel: String,
        #[command(flatten)]
        mint: MintArgs,
    },
    /// Print what a token says if it is valid now
    Check {
        /// The token; `-`: read it from stdin
        token: String,
    },
}

/// What the two kinds of token have in common.
#[derive(Args, Debug)]
pub struct MintArgs {
    /// Whose token it is; without it, that of an anonymous user
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    user: String,
    /// What others are told of the client
    #[arg(long, value_name = "JSON", value_parser = json)]
    info: Option<Box<RawValue>>,
    /// Seconds until it ends; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    ttl: u64,
    /// PEM file to sign with by RS256 or ES256, in place of auth.hmac_secret by HS256
    #[arg(long, value_name = "FILE")]
    pub private_key: Option<PathBuf>,
}

impl MintArgs {
    /// The claims; `now` is in seconds since 1970.
    pub fn content(&self, now: u64) -> Content {
        let exp = (self.ttl > 0).then(|| now.saturating_add(self.ttl));
        Content { user: self.user.clone(), info: self.info.clone(), iat: now, exp, ..Content::default() }
    }
}

fn json(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::from_str(text)
}

/// A command line that cannot be understood, in one line.
#[derive(Debug)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Reads the process's command line. A request for help or for the version is answered here, and the process ends.
pub fn parse() -> Result<Command, UsageError> {
    read(env::args_os()).map_err(|error| if error.use_stderr() { one_line(&error) } else { error.exit() })
}

fn read(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Command, clap::Error> {
    Cli::try_parse_from(args).map(|cli| cli.command)
}

/// Clap's paragraphs joined, without the usage, which `--help` shows.
fn one_line(error: &clap::Error) -> UsageError {
    let text = error.to_string();
    let paragraphs = text.trim_start_matches("error: ").split("\n\n");
    let said = paragraphs.filter(|paragraph| !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more information"));
    let lines: Vec<_> = said.map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    UsageError(format!("{} (see `fantail --help`)", lines.join("; ")))
}

fn settings_help() -> String {
    let mut help = "Settings: keys of the --config file, with their defaults, and the environment variables that win over it.\n".to_owned();
    for entry in catalogue() {
        help += &format!("\n  {} = {}\n    {}\n", entry.key, entry.default, entry.variable);
        for line in entry.about {
            help += &format!("        {line}\n");
        }
    }
    help += "\nProfiles: what each value of hub.profile promises and sets.\n\n";
    for line in PROFILES.lines() {
        help += &format!("  {line}\n");
    }
    help
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage_error(args: &[&str]) -> String {
        one_line(&read(args).unwrap_err()).to_string()
    }

    #[test]
    fn usage_errors_are_one_clear_line() {
        for (args, error) in [
            (&["fantail"][..], "'fantail' requires a subcommand but one was not provided"),
            (&["fantail", "server"], "unrecognized subcommand 'server'; tip: "),
            (&["fantail", "serve", "--worker", "1"], "unexpected argument '--worker' found; tip: "),
            (&["fantail", "serve", "--workers"], "a value is required for '--workers <N>' but none was supplied"),
            (&["fantail", "token", "subscription"], "the following required arguments were not provided: --channel <CHANNEL>"),
            (&["fantail", "token", "connection", "--info", "{"], "invalid value '{' for '--info <JSON>': "),
            (&["fantail", "check-config"], "the following required arguments were not provided: <FILE>"),
        ] {
            let actual = usage_error(args);
            assert!(actual.starts_with(error) && actual.ends_with(" (see `fantail --help`)"), "{actual}");
            assert!(!actual.contains('\n'), "{actual:?}");
        }
    }

    #[test]
    fn flags_become_settings() {
        let args = ["fantail", "serve", "--listen", "[::1]:80", "--internal", "a", "--workers", "3", "--driver", "epoll"];
        let Command::Serve(args) = read(args).unwrap() else { panic!("not `serve`") };
        let settings = [("listen", "[::1]:80"), ("internal", "a"), ("workers", "3"), ("driver", "epoll")];
        assert_eq!(args.settings(), settings);
        assert_eq!(args.config, None);
    }

    #[test]
    fn flags_become_claims() {
        let content = |args: &[&str]| {
            let args = ["fantail", "token", "connection"].iter().chain(args);
            let Command::Token(TokenArgs { command: TokenCommand::Connection { mint, .. }, .. }) = read(args).unwrap() else {
                panic!("not `token connection`")
            };
            serde_json::to_string(&mint.content(1000)).unwrap()
        };
        assert_eq!(content(&[]), r#"{"iat":1000,"exp":4600}"#);
        assert_eq!(content(&["--ttl", "0", "--user", "42", "--info", "[ 1 ]"]), r#"{"sub":"42","info":[ 1 ],"iat":1000}"#);
        assert_eq!(content(&["--ttl", "18446744073709551615"]), r#"{"iat":1000,"exp":18446744073709551615}"#);
    }

    #[test]
    fn the_help_of_serve_explains_every_setting() {
        let help = read(["fantail", "serve", "--help"]).unwrap_err();
        assert!(!help.use_stderr());
        let help = help.to_string();
        for entry in catalogue() {
            for part in [format!("{} = {}\n", entry.key, entry.default), format!("{}\n", entry.variable)] {
                assert!(help.contains(&part), "{part} is not in the help");
            }
            assert!(!entry.about.is_empty(), "{} is not explained", entry.key);
        }
        assert!(PROFILES.lines().all(|line| help.contains(line)), "the profiles are not in the help");
    }
}
