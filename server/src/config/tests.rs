//! The configuration as its users meet it: what is read, from where, and the words of every refusal.

use std::path::Path;

use fantail_codec::limits::{HttpLimits, MessageLimits};

use super::*;

mod channels;

fn from_toml(text: &str) -> Result<Config, String> {
    let mut raw = Raw::defaults();
    raw.add_file("fantail.toml", text).and_then(|()| validate::validate(raw)).map_err(|error| error.to_string())
}

fn from_variables(variables: &[(&str, &str)]) -> Result<Config, String> {
    let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    load(&[], None, variables, &[]).map_err(|error| error.to_string())
}

fn defaults() -> Config {
    from_variables(&[]).unwrap()
}

/// As far as the configuration looks into it.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";

#[test]
fn the_default_file_says_what_no_file_means() {
    assert_eq!(from_toml(DEFAULT_CONFIG), Ok(defaults()));
}

#[test]
fn the_commented_namespace_is_valid() {
    let text = DEFAULT_CONFIG.replace("# [hub.namespaces.ticker]\n# profile", "[hub.namespaces.ticker]\nprofile");
    assert_eq!(from_toml(&text).unwrap().hub.namespaces.len(), 1);
}

#[test]
fn the_defaults_are_the_codecs() {
    let Limits { head_bytes_max, fields_max, target_bytes_max, body_bytes_max, message_bytes_max, fragments_max, .. } = defaults().limits;
    let http = HttpLimits::DEFAULT;
    assert_eq!([head_bytes_max, fields_max], [http.head_bytes_max, http.fields_max]);
    assert_eq!([target_bytes_max, body_bytes_max], [http.target_bytes_max, http.body_bytes_max]);
    let message = MessageLimits::DEFAULT;
    assert_eq!([message_bytes_max, fragments_max], [message.message_bytes_max, message.fragments_max as usize]);
}

/// The range in an entry's comment, written "1 to 9".
fn range(entry: &Entry) -> Option<(i64, i64)> {
    let words: Vec<_> = entry.about.iter().flat_map(|line| line.split([' ', ',', '.', ':'])).collect();
    words.windows(3).find_map(|words| (words[1] == "to").then_some((words[0].parse().ok()?, words[2].parse().ok()?)))
}

#[test]
fn the_ranges_in_the_comments_are_the_ones_enforced() {
    for entry in catalogue().iter().filter(|entry| entry.default.parse::<i64>().is_ok()) {
        let (key, variable) = (&entry.key, &entry.variable);
        let (first, last) = range(entry).unwrap_or_else(|| panic!("`{key}` has no range in its comment"));
        let set = |value: i64| from_variables(&[(variable, &value.to_string())]);
        for outside in [first - 1, last + 1] {
            let error = format!("`{key}` from {variable} is {outside}: expected {first} to {last}");
            assert_eq!(set(outside), Err(error));
        }
        for inside in [first, last] {
            // A bound may still be refused for what another setting demands.
            let error = set(inside).err().unwrap_or_default();
            assert!(!error.ends_with(&format!("expected {first} to {last}")), "{error}");
        }
    }
}

#[test]
fn every_key_reaches_the_config_by_its_variable() {
    for entry in catalogue() {
        let other = match (entry.key.as_str(), entry.default) {
            ("listen" | "internal", _) => "127.0.0.1:1".to_owned(),
            ("driver", _) => "epoll".to_owned(),
            ("workers", _) => "777".to_owned(),
            (_, "true") => "false".to_owned(),
            (_, "false") => "true".to_owned(),
            ("upgrade.origins", _) => "https://a.example".to_owned(),
            ("upgrade.subprotocols", _) => "chat".to_owned(),
            ("auth.rsa_public_key" | "auth.ecdsa_public_key", _) => PUBLIC_KEY.to_owned(),
            ("hub.profile", _) => "game".to_owned(),
            ("hub.subscribe" | "hub.publish", _) => "users".to_owned(),
            ("hub.wildcard", _) => "token".to_owned(),
            ("hub.slow", _) => "disconnect".to_owned(),
            ("hub.slow_bytes_max", _) => "4096".to_owned(),
            ("hub.rates", _) => "5".to_owned(),
            (_, "\"\"") => "secret".to_owned(),
            (_, number) => (number.parse::<u32>().unwrap() + 1).to_string(),
        };
        // Anonymous clients are only refused where others can come.
        let key = ("FANTAIL_AUTH_HMAC_SECRET", "a secret");
        let others = if entry.key == "auth.anonymous" { &[key][..] } else { &[] };
        let without = from_variables(others).unwrap();
        let with = from_variables(&[others, &[(&entry.variable, &other)]].concat()).unwrap();
        assert_ne!(with, without, "{} has no effect", entry.key);
    }
}

#[test]
fn later_places_win() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("default-config.toml");
    let port = |file, variables: &[(&str, &str)], flags| {
        let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        load(&[("listen", "127.0.0.1:1")], file, variables, flags).unwrap().listen.port()
    };
    let variable = [("LISTEN", "127.0.0.1:9"), ("FANTAIL_LISTEN", "127.0.0.1:2")];
    assert_eq!(port(None, &[], &[]), 1);
    assert_eq!(port(Some(&file), &[], &[]), 8000);
    assert_eq!(port(Some(&file), &variable, &[]), 2);
    assert_eq!(port(Some(&file), &variable, &[("listen", "127.0.0.1:3")]), 3);
}

#[test]
fn lists_come_from_variables_too() {
    let subprotocols = |text| from_variables(&[("FANTAIL_UPGRADE_SUBPROTOCOLS", text)]).unwrap().upgrade.subprotocols;
    assert_eq!(subprotocols("chat, ticker"), ["chat", "ticker"]);
    assert_eq!(subprotocols(r#"["chat", "ticker"]"#), ["chat", "ticker"]);
    assert!(subprotocols("[]").is_empty());
    assert!(subprotocols("").is_empty());
}

#[test]
fn origins_are_same_host_any_or_listed() {
    let origins = |text| from_variables(&[("FANTAIL_UPGRADE_ORIGINS", text)]).unwrap().upgrade.origins;
    assert_eq!(defaults().upgrade.origins, Origins::SameHost);
    assert_eq!(origins("*"), Origins::Any);
    let both = ["https://a.example", "http://[::1]:8000"];
    assert_eq!(origins(&both.join(",")), Origins::List(both.map(String::from).to_vec()));
}

#[test]
fn a_public_internal_port_needs_a_key() {
    let config = from_toml("internal = '0.0.0.0:9000'\napi.key = 's3cret'").unwrap();
    assert_eq!(config.api.key.as_deref(), Some("s3cret"));
    assert!(!format!("{config:?}").contains("s3cret"), "the key is not to be logged");
}

#[test]
fn a_public_key_is_pem_or_the_path_of_a_file_with_it() {
    let path = env::temp_dir().join(format!("fantail-public-key-{}.pem", std::process::id()));
    fs::write(&path, PUBLIC_KEY).unwrap();
    let auth = |text: &str| from_variables(&[("FANTAIL_AUTH_ECDSA_PUBLIC_KEY", text)]).unwrap().auth;
    let from_file = auth(path.to_str().unwrap());
    fs::remove_file(&path).unwrap();
    assert_eq!(from_file.ecdsa_public_key.as_deref(), Some(PUBLIC_KEY));
    assert_eq!(auth(PUBLIC_KEY), from_file);
}

#[test]
fn keys_of_tokens_are_neither_logged_nor_in_errors() {
    let secret = ("FANTAIL_AUTH_HMAC_SECRET", "s3cret");
    let config = from_variables(&[secret, ("FANTAIL_AUTH_AUDIENCE", "fans")]).unwrap();
    assert_eq!(config.auth.hmac_secret.as_deref(), Some("s3cret"));
    let text = format!("{config:?}");
    assert!(text.contains("fans") && text.contains("hmac_secret: Some") && !text.contains("s3cret"), "{text}");
    // Taken for the public key: the private one, whole or without its first line.
    for text in ["-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----", "s3cret\n-----END PRIVATE KEY-----", "s3cret"] {
        let error = from_variables(&[("FANTAIL_AUTH_RSA_PUBLIC_KEY", text)]).unwrap_err();
        assert!(error.starts_with("`auth.rsa_public_key` from FANTAIL_AUTH_RSA_PUBLIC_KEY is n"), "{error}");
        assert!(error.ends_with(": expected a public key in PEM, or the path of a file with one"), "{error}");
        assert!(!error.contains("s3cret") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn files_are_refused_in_one_clear_line() {
    let target_room = "[limits]\n\nhead_bytes_max = 8255";
    for (text, error) in [
        ("\nworkers = ", "not TOML at fantail.toml:2: ..."),
        ("workers = 1\nworkers = 2", "not TOML at fantail.toml:2: duplicate key"),
        (
            "[limits]\n# note\n\nhead_byte_max = 1",
            "unknown key `limits.head_byte_max` at fantail.toml:4: did you mean `limits.head_bytes_max`?",
        ),
        ("listening = 1", "unknown key `listening` at fantail.toml:1: did you mean `listen`?"),
        ("'a\\n\n' = 1", "not TOML at fantail.toml:1: ..."),
        ("\"a\\nb\" = 1", "unknown key `a\\nb` at fantail.toml:1: did you mean ..."),
        ("[limit]\n", "unknown key `limit` at fantail.toml:1: did you mean `limits`?"),
        ("workers = 'two'", "`workers` at fantail.toml:1 is \"two\": expected an integer"),
        ("workers = 9223372036854775808", "`workers` at fantail.toml:1 is beyond 64 bits: expected an integer"),
        ("listen = 8000", "`listen` at fantail.toml:1 is an integer: expected a string"),
        ("[deflate]\nenabled = 1", "`deflate.enabled` at fantail.toml:2 is an integer: expected true or false"),
        ("[upgrade]\norigins = '*'", "`upgrade.origins` at fantail.toml:2 is \"*\": expected a list of strings"),
        ("[upgrade]\norigins = [1]", "`upgrade.origins` at fantail.toml:2 is a list: expected a list of strings"),
        ("[workers]", "`workers` at fantail.toml:1 is a section: expected an integer"),
        ("limits = 1", "`limits` at fantail.toml:1 is an integer: expected a section"),
        ("hub.namespaces = 1", "`hub.namespaces` at fantail.toml:1 is an integer: expected a section"),
        ("hub.namespaces.a = 1.5", "`hub.namespaces.a` at fantail.toml:1 is a float: expected a section"),
        (
            "[hub.namespaces.a]\nflush = 1",
            "unknown key `hub.namespaces.a.flush` at fantail.toml:2: did you mean `hub.namespaces.a.flush_ms`?",
        ),
        ("[hub.namespaces.a]\nchannels_max = 1", "unknown key `hub.namespaces.a.channels_max` at fantail.toml:2: did you mean ..."),
        ("[hub.namespaces.a]\nflush_ms = 60001", "`hub.namespaces.a.flush_ms` at fantail.toml:2 is 60001: expected 0 to 60000"),
        (
            "[hub.namespaces.'a:b']\nflush_ms = 1",
            "`hub.namespaces.a:b.flush_ms` at fantail.toml:2 is in a namespace named \"a:b\": \
             expected a name of letters, digits, `_` and `-`",
        ),
        (
            "listen = 'localhost:8000'",
            "`listen` at fantail.toml:1 is \"localhost:8000\": expected an address and a port, such as 127.0.0.1:8000 or [::1]:8000",
        ),
        ("driver = 'kqueue'", "`driver` at fantail.toml:1 is \"kqueue\": expected \"auto\", \"uring\" or \"epoll\""),
        (target_room, "`limits.head_bytes_max` at fantail.toml:3 is 8255: expected at least 8256, to hold `limits.target_bytes_max`"),
        (
            "limits.mailbox_bytes_max = 1048575",
            "`limits.mailbox_bytes_max` at fantail.toml:1 is 1048575: expected at least 1048576, to hold `limits.message_bytes_max`",
        ),
        (
            "limits.message_bytes_max = 67108865",
            "`limits.mailbox_bytes_max` by default is 67108864: expected at least 67108865, to hold `limits.message_bytes_max`",
        ),
        (
            "upgrade.subprotocols = ['a b']",
            "`upgrade.subprotocols` at fantail.toml:1 is a list with \"a b\": expected tokens (letters, digits and !#$%&'*+-.^_`|~)",
        ),
        ("upgrade.subprotocols = ['a', 'a']", "`upgrade.subprotocols` at fantail.toml:1 is a list with \"a\" twice: expected each once"),
        (
            "upgrade.origins = ['https://a.example/']",
            "`upgrade.origins` at fantail.toml:1 is a list with \"https://a.example/\": \
             expected \"*\" alone, or origins such as \"https://example.org\", without a path",
        ),
        (
            "upgrade.origins = ['https://a.example', '*']",
            "`upgrade.origins` at fantail.toml:1 is a list with \"*\": expected \"*\" alone, ...",
        ),
        ("api.key = 'a b'", "`api.key` at fantail.toml:1 is not all visible ASCII: expected letters, digits and ASCII punctuation"),
        (
            "auth.anonymous = false",
            "`auth.anonymous` at fantail.toml:1 is false: expected true, or a key in `auth`, without which nobody could connect",
        ),
        (
            "internal = '0.0.0.0:9000'",
            "`internal` at fantail.toml:1 is 0.0.0.0:9000: expected a loopback address, or a secret in `api.key`",
        ),
    ] {
        let actual = from_toml(text).expect_err(text);
        // Which near key is named, and the parser's words, are not ours to fix.
        match error.strip_suffix("...") {
            Some(start) => assert!(actual.starts_with(start) && !actual.contains('\n'), "{text:?} gives {actual:?}"),
            None => assert_eq!(actual, error, "{text:?}"),
        }
    }
}

#[test]
fn variables_are_refused_in_one_clear_line() {
    for (name, text, error) in [
        ("FANTAIL_WORKER", "1", "unknown variable FANTAIL_WORKER: did you mean FANTAIL_WORKERS?"),
        ("FANTAIL_LIMITS_FIELD_MAX", "1", "unknown variable FANTAIL_LIMITS_FIELD_MAX: did you mean FANTAIL_LIMITS_FIELDS_MAX?"),
        (
            "FANTAIL_HUB_NAMESPACES_ORDER_BOOK_SLO",
            "conflate",
            "unknown variable FANTAIL_HUB_NAMESPACES_ORDER_BOOK_SLO: did you mean FANTAIL_HUB_NAMESPACES_ORDER_BOOK_SLOW?",
        ),
        ("FANTAIL_WORKERS", "two", "`workers` from FANTAIL_WORKERS is \"two\": expected an integer"),
        ("FANTAIL_WORKERS", "", "`workers` from FANTAIL_WORKERS is \"\": expected an integer"),
        ("FANTAIL_WORKERS", "1\n2", "`workers` from FANTAIL_WORKERS is \"1\\n2\": expected an integer"),
        (
            "FANTAIL_HUB_NAMESPACES_A\nB_FLUSH_MS",
            "1",
            "`hub.namespaces.a\\nb.flush_ms` from FANTAIL_HUB_NAMESPACES_A\\nB_FLUSH_MS is in a namespace named \"a\\nb\": \
             expected a name of letters, digits, `_` and `-`",
        ),
        ("FANTAIL_DEFLATE_ENABLED", "yes", "`deflate.enabled` from FANTAIL_DEFLATE_ENABLED is \"yes\": expected true or false"),
        (
            "FANTAIL_HUB_NAMESPACES__FLUSH_MS",
            "1",
            "`hub.namespaces..flush_ms` from FANTAIL_HUB_NAMESPACES__FLUSH_MS is in a namespace named \"\": \
             expected a name of letters, digits, `_` and `-`",
        ),
    ] {
        assert_eq!(from_variables(&[(name, text)]), Err(error.to_owned()));
    }
}

#[test]
fn flags_and_missing_files_are_refused_in_one_clear_line() {
    let error = |file, flags| load(&[], file, [].into_iter(), flags).unwrap_err().to_string();
    assert_eq!(error(None, &[("workers", "1025")]), "`workers` from --workers is 1025: expected 0 to 1024");
    let missing = error(Some(Path::new("missing.toml")), &[]);
    assert_eq!(missing, "cannot read missing.toml: No such file or directory (os error 2)");
}
