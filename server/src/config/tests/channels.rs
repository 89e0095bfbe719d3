//! Options of channels: what a namespace inherits, what a profile stands for, and what is refused.

use super::*;

fn millis(options: &ChannelOptions) -> [u128; 4] {
    [options.flush, options.history_ttl, options.value_ttl, options.heartbeat].map(|duration| duration.as_millis())
}

/// The options of the channels in `namespace`, where a file says this.
fn options(text: &str, namespace: &str) -> ChannelOptions {
    let hub = from_toml(text).unwrap_or_else(|error| panic!("{text:?}: {error}")).hub;
    ChannelOptions::clone(hub.options(&format!("{namespace}:x")))
}

fn built_in() -> ChannelOptions {
    ChannelOptions::clone(&defaults().hub.defaults)
}

#[test]
fn the_defaults() {
    let options = ChannelOptions {
        flush: Duration::ZERO,
        subscribe: Access::Anyone,
        publish: Access::Nobody,
        wildcard: Access::Nobody,
        history_size: 0,
        history_ttl: Duration::from_secs(300),
        last_value: true,
        value_ttl: Duration::ZERO,
        keys_max: 0,
        kept_bytes_max: 1 << 30,
        slow: SlowPolicy::Conflate,
        slow_bytes_max: 1 << 20,
        rates: vec![1, 4, 10, 30],
        delta: false,
        presence: false,
        join_leave: false,
        heartbeat: Duration::from_secs(10),
    };
    assert_eq!(built_in(), options);
}

#[test]
fn every_option_can_be_set_for_a_namespace_alone() {
    let text = "[hub.namespaces.a]\nflush_ms = 60000\nsubscribe = 'users'\npublish = 'token'\nwildcard = 'users'\nhistory_size = 1000000\n\
                history_ttl_ms = 2592000000\nlast_value = false\nvalue_ttl_ms = 2592000000\nkeys_max = 1000000\nkept_bytes_max = 1048576\nslow = 'drop_oldest'\n\
                slow_bytes_max = 4096\nrates = [1, 2, 3, 4, 5, 6, 999, 1000]\ndelta = true\npresence = true\njoin_leave = true\n\
                heartbeat_ms = 3600000";
    let hub = from_toml(text).unwrap().hub;
    let set = hub.options("a:x");
    assert_eq!(millis(set), [60_000, 2_592_000_000, 2_592_000_000, 3_600_000]);
    assert_eq!([set.subscribe, set.publish, set.wildcard], [Access::Users, Access::Token, Access::Users]);
    assert_eq!([set.history_size, set.keys_max, set.kept_bytes_max, set.slow_bytes_max], [1_000_000, 1_000_000, 1 << 20, 4096]);
    assert_eq!((set.slow, &set.rates[..]), (SlowPolicy::DropOldest, &[1, 2, 3, 4, 5, 6, 999, 1000][..]));
    assert!(!set.last_value && set.delta && set.presence && set.join_leave);
    assert_eq!(**hub.options("b:x"), built_in());
}

#[test]
fn a_namespace_is_the_text_before_the_first_colon_and_inherits_what_it_does_not_set() {
    let text = "hub.flush_ms = 5\n[hub.namespaces.ticker]\nflush_ms = 10\n[hub.namespaces.chat]\npublish = 'anyone'";
    let hub = from_toml(text).unwrap().hub;
    let told = |channel| (hub.options(channel).flush.as_millis(), hub.options(channel).publish);
    assert_eq!(told("ticker:BTC"), (10, Access::Nobody));
    assert_eq!(told("chat:a:b"), (5, Access::Anyone));
    assert_eq!(told("other:ticker:BTC"), (5, Access::Nobody));
    assert_eq!(told("ticker"), (5, Access::Nobody));
}

#[test]
fn a_namespace_is_set_by_variables() {
    let variables = [
        ("FANTAIL_HUB_NAMESPACES_TICKER_SLOW", "disconnect"),
        ("FANTAIL_HUB_NAMESPACES_TICKER_RATES", "2, 5"),
        ("FANTAIL_HUB_NAMESPACES_ORDER_BOOK_FLUSH_MS", "7"),
        ("FANTAIL_HUB_NAMESPACES_ROOM_PROFILE", "chat"),
    ];
    let hub = from_variables(&variables).unwrap().hub;
    let ticker = hub.options("ticker:BTC");
    assert_eq!((ticker.slow, &ticker.rates[..]), (SlowPolicy::Disconnect, &[2, 5][..]));
    assert_eq!(hub.options("order_book:BTC").flush, Duration::from_millis(7));
    assert_eq!(**hub.options("order_book"), built_in());
    assert!(hub.options("room:1").presence);
}

/// A namespace's variable is cut where a key begins, so no key may end as another does.
#[test]
fn a_namespaces_variable_has_one_meaning() {
    let raw = Raw::defaults();
    for key in raw.channel_keys() {
        for other in raw.channel_keys() {
            assert!(!other.ends_with(&format!("_{key}")), "{other} ends in {key}");
        }
    }
}

#[test]
fn rates_come_from_variables_too() {
    let rates = |text| from_variables(&[("FANTAIL_HUB_RATES", text)]).map(|config| config.hub.defaults.rates.clone());
    assert_eq!(rates("1,4,10"), Ok(vec![1, 4, 10]));
    assert_eq!(rates("4"), Ok(vec![4]));
    assert_eq!(rates("[ 1, 1000 ]"), Ok(vec![1, 1000]));
    assert_eq!(rates("[]"), Ok(vec![]));
    assert_eq!(rates(""), Ok(vec![]));
    assert_eq!(rates("1, two"), Err("`hub.rates` from FANTAIL_HUB_RATES is \"1, two\": expected a list of integers".to_owned()));
}

#[test]
fn what_each_profile_sets() {
    let profile = |name| options(&format!("[hub.namespaces.a]\nprofile = '{name}'"), "a");
    let rates = vec![10, 20, 30, 60];
    let ticker = ChannelOptions { flush: Duration::from_millis(10), keys_max: 10_000, delta: true, ..built_in() };
    assert_eq!(profile("ticker"), ticker);
    assert_eq!(profile("game"), ChannelOptions { rates, ..built_in() });
    let told = ChannelOptions { last_value: false, slow: SlowPolicy::Disconnect, rates: Vec::new(), ..built_in() };
    let hour = Duration::from_secs(3600);
    let feed = ChannelOptions { history_size: 1000, history_ttl: 24 * hour, delta: true, ..told.clone() };
    assert_eq!(profile("feed"), feed);
    let chat = ChannelOptions { history_size: 100, history_ttl: hour, publish: Access::Users, presence: true, join_leave: true, ..told };
    assert_eq!(profile("chat"), chat);
}

/// The sections of the profiles' file: each name, and the settings below it.
fn sections() -> Vec<(&'static str, String)> {
    let section = |text: &'static str| {
        let (name, rest) = text.split_once("]\n").unwrap();
        let settings = rest.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n"));
        (name, settings.collect())
    };
    PROFILES.split("\n[").skip(1).map(section).collect()
}

#[test]
fn a_profile_is_what_its_settings_are_when_written_out() {
    assert_eq!(sections().len(), 4);
    for (name, settings) in sections() {
        for table in ["hub", "hub.namespaces.a"] {
            let by_name = options(&format!("[{table}]\nprofile = '{name}'"), "a");
            assert_eq!(by_name, options(&format!("[{table}]\n{settings}"), "a"), "{name} in [{table}]");
            assert_ne!(by_name, built_in());
        }
    }
}

/// Or else part of what one profile promises would hang on what is written in `[hub]`.
#[test]
fn a_profile_decides_what_another_does_but_for_rights_and_ages() {
    let keys = |settings: &str| -> Vec<String> {
        let keys = settings.lines().filter_map(|line| Some(line.split_once(" = ")?.0.to_owned()));
        keys.filter(|key| key != "publish" && key != "history_ttl_ms").collect()
    };
    let all: Vec<_> = sections().iter().map(|(_, settings)| keys(settings)).collect();
    assert!(all[0].len() > 5 && all.iter().all(|one| *one == all[0]), "{all:?}");
}

#[test]
fn who_wins_over_whom() {
    let flush = |text: &str| options(text, "a").flush.as_millis();
    // The default, the profile of [hub], what is written in [hub], the namespace's profile, what is written there.
    assert_eq!(flush(""), 0);
    assert_eq!(flush("hub.profile = 'ticker'"), 10);
    assert_eq!(flush("hub.profile = 'ticker'\nhub.flush_ms = 5"), 5);
    assert_eq!(flush("hub.profile = 'ticker'\nhub.flush_ms = 5\nhub.namespaces.a.profile = 'game'"), 0);
    assert_eq!(flush("hub.flush_ms = 5\nhub.namespaces.a = { profile = 'game', flush_ms = 7 }"), 7);
    // A namespace without a profile, or with none by name, has that of [hub].
    assert_eq!(flush("hub.profile = 'ticker'\nhub.namespaces.a.profile = ''"), 10);
    assert_eq!(flush("hub.profile = 'ticker'\nhub.namespaces.a.delta = false"), 10);
    // What is written wins wherever the profile was chosen.
    let file = "[hub]\nflush_ms = 5\nprofile = 'game'";
    let mut raw = Raw::defaults();
    raw.add_file("fantail.toml", file).unwrap();
    raw.set_text("hub.profile", "ticker", "from a test".to_owned()).unwrap();
    let hub = validate::validate(raw).unwrap().hub;
    assert_eq!((hub.defaults.flush.as_millis(), hub.defaults.keys_max), (5, 10_000));
}

#[test]
fn a_namespaces_profile_hides_that_of_the_hub_but_not_what_is_written() {
    let ticker = "hub.namespaces.a.profile = 'ticker'\n";
    let alone = options(ticker, "a");
    assert_eq!(options(&format!("{ticker}hub.profile = 'chat'"), "a"), alone);
    let written = options(&format!("{ticker}hub.profile = 'chat'\nhub.publish = 'token'"), "a");
    assert_eq!(written, ChannelOptions { publish: Access::Token, ..alone });
}

#[test]
fn a_default_that_the_caller_replaces_is_still_a_default() {
    let base = [("hub.publish", "anyone")];
    let publish = |profile| {
        let variables = [("FANTAIL_HUB_PROFILE".to_owned(), profile)];
        load(&base, None, variables.into_iter(), &[]).unwrap().hub.defaults.publish
    };
    assert_eq!(publish("game".to_owned()), Access::Anyone);
    assert_eq!(publish("chat".to_owned()), Access::Users);
}

#[test]
fn a_pattern_gives_no_more_than_a_name() {
    let wildcard = |text| options(text, "a").wildcard;
    assert_eq!(wildcard("hub.wildcard = 'anyone'"), Access::Anyone);
    assert_eq!(wildcard("hub.wildcard = 'anyone'\nhub.namespaces.a.subscribe = 'token'"), Access::Token);
    assert_eq!(wildcard("hub.wildcard = 'nobody'\nhub.namespaces.a.subscribe = 'token'"), Access::Nobody);
}

#[test]
fn the_bytes_of_a_slow_subscriber_fit_in_its_outbox() {
    let bytes = |text| options(text, "a").slow_bytes_max;
    assert_eq!(bytes("limits.outbox_bytes_max = 4096"), 4096);
    assert_eq!(bytes("limits.outbox_bytes_max = 4194304"), 1 << 20);
    assert_eq!(bytes("limits.outbox_bytes_max = 4194304\nhub.slow_bytes_max = 4194304"), 4 << 20);
}

/// In a copy of the default file all is written, and so the profile would be without effect, which is not to go unseen.
#[test]
fn a_profile_that_decides_nothing_is_refused() {
    let copy = DEFAULT_CONFIG.replace("\nprofile = \"\"", "\nprofile = \"ticker\"");
    let error = from_toml(&copy).unwrap_err();
    let end = " is \"ticker\": expected fewer settings beside it: what is written wins, and all that it sets is written";
    assert!(error.starts_with("`hub.profile` at fantail.toml:") && error.ends_with(end), "{error}");
    assert_eq!(from_toml(&copy.replace("\nkeys_max = 0", "")).unwrap().hub.defaults.keys_max, 10_000);
}

#[test]
fn options_are_refused_in_one_clear_line() {
    let of_rates = "expected at most 8 integers 1 to 1000, each above the one before it";
    for (text, error) in [
        ("hub.profile = 'tickr'", "`hub.profile` at fantail.toml:1 is \"tickr\": expected \"chat\", \"feed\", \"game\" or \"ticker\""),
        ("hub.namespaces.a.profile = 'x'", "`hub.namespaces.a.profile` at fantail.toml:1 is \"x\": expected \"chat\", ..."),
        ("hub.profil = 'chat'", "unknown key `hub.profil` at fantail.toml:1: did you mean `hub.profile`?"),
        ("hub.namespaces.a.rate = [1]", "unknown key `hub.namespaces.a.rate` at fantail.toml:1: did you mean `hub.namespaces.a.rates`?"),
        ("hub.client_publish = true", "unknown key `hub.client_publish` at fantail.toml:1: did you mean `hub.publish`?"),
        ("hub.publish = 'all'", "`hub.publish` at fantail.toml:1 is \"all\": expected \"nobody\", \"token\", \"users\" or \"anyone\""),
        ("hub.slow = 'drop'", "`hub.slow` at fantail.toml:1 is \"drop\": expected \"conflate\", \"drop_oldest\" or \"disconnect\""),
        ("hub.namespaces.a.history_size = 1000001", "`hub.namespaces.a.history_size` at fantail.toml:1 is 1000001: expected 0 to 1000000"),
        ("hub.rates = 4", "`hub.rates` at fantail.toml:1 is an integer: expected a list of integers"),
        ("hub.rates = ['4']", "`hub.rates` at fantail.toml:1 is a list: expected a list of integers"),
        ("hub.rates = [0]", &format!("`hub.rates` at fantail.toml:1 is a list with 0: {of_rates}")),
        ("hub.rates = [4, 1001]", &format!("`hub.rates` at fantail.toml:1 is a list with 1001: {of_rates}")),
        ("hub.rates = [4, 4]", &format!("`hub.rates` at fantail.toml:1 is a list with 4: {of_rates}")),
        ("hub.rates = [1,2,3,4,5,6,7,8,9]", &format!("`hub.rates` at fantail.toml:1 is a list of 9: {of_rates}")),
        (
            "hub.slow_bytes_max = 1048577",
            "`hub.slow_bytes_max` at fantail.toml:1 is 1048577: expected at most 1048576, to fit in `limits.outbox_bytes_max`",
        ),
        (
            "hub.value_ttl_ms = 3600000\nhub.namespaces.a.profile = 'feed'",
            "`hub.value_ttl_ms` at fantail.toml:1 is 3600000: \
             expected 0, or at least 86400000, to outlive `hub.namespaces.a.history_ttl_ms`",
        ),
        (
            "[hub]\nprofile = 'feed'\nkeys_max = 1",
            "`hub.keys_max` at fantail.toml:3 is 1: \
             expected 0, or what makes use of keys: `last_value`, `slow = \"conflate\"` or `rates`",
        ),
    ] {
        let actual = from_toml(text).expect_err(text);
        match error.strip_suffix("...") {
            Some(start) => assert!(actual.starts_with(start) && !actual.contains('\n'), "{text:?} gives {actual:?}"),
            None => assert_eq!(actual, error, "{text:?}"),
        }
    }
}
