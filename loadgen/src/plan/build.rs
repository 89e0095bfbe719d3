//! From flags to a plan: presets, defaults, and the checks that take more than one flag. An error is one line that names the flag and says what was
//! expected. Imports `flags`, `presets` and the rooms of the values.

use std::{fs, num::NonZeroUsize, path::Path, thread, time::Duration};

use fantail_codec::Kind;

use super::{
    Fanout, Json, Opening, Plan, Publish, Steps, Traffic,
    flags::{CHANNEL, CommonFlags, ConnectFlags, EchoFlags, FanoutFlags, IdleFlags, OpeningFlags, TrafficFlags},
    presets::Recipe,
};
use crate::{
    metrics::Scenario,
    payload::{MARKER_BYTES, Template},
    threshold::Threshold,
    url::Url,
};

const DURATION: Duration = Duration::from_secs(10);
const WARMUP: Duration = Duration::from_secs(2);
const PAYLOAD_BYTES: usize = 64;
/// Each is a thread that waits for its answers.
const HTTP_PUBLISHERS_MAX: usize = 1024;
const MESSAGE: &str = "${payload}";

pub(super) fn connect(flags: ConnectFlags) -> Result<Plan, String> {
    let mut plan = plan(Scenario::Connect, flags.common, flags.connections)?.0;
    if flags.close {
        plan.opening.close = true;
        plan.duration = duration(flags.duration, flags.count);
        plan.count = flags.count;
        plan.warmup = flags.warmup.unwrap_or(WARMUP);
    }
    Ok(plan)
}

pub(super) fn echo(flags: EchoFlags) -> Result<Plan, String> {
    let (mut plan, recipe) = plan(Scenario::Echo, flags.common, flags.connections)?;
    plan.send(&flags.traffic, Source { flag: "--message", text: flags.message.as_deref(), preset: recipe.message })?;
    Ok(plan)
}

pub(super) fn fanout(mut flags: FanoutFlags) -> Result<Plan, String> {
    let (mut plan, recipe) = plan(Scenario::Fanout, flags.common, flags.connections)?;
    let publishers = flags.publishers.unwrap_or(flags.channels);
    if publishers < flags.channels {
        return Err(format!("--publishers {publishers}: expected at least --channels, {}", flags.channels));
    }
    if flags.publish_http.is_some() && publishers > HTTP_PUBLISHERS_MAX {
        return Err(format!("--publishers {publishers}: expected at most {HTTP_PUBLISHERS_MAX} with --publish-http, each is a thread"));
    }
    let subscribe = flags.subscribe.as_deref().or(recipe.subscribe);
    check_channels(flags.channels, subscribe, &plan)?;
    let source = match (&flags.publish_http, &flags.message) {
        (None, message) => Source { flag: "--publish", text: message.as_deref(), preset: recipe.message },
        (Some(_), None) => Source { flag: "--publish-body", text: flags.publish_body.as_deref(), preset: recipe.publish_body },
        (Some(_), Some(_)) => return Err("--publish: goes over a WebSocket; expected --publish-body beside --publish-http".into()),
    };
    plan.send(&flags.traffic, source)?;
    if !plan.traffic.message.has_marker() {
        return Err("the publication: expected ${marker} or ${payload} in it, by which its deliveries are known".into());
    }
    if plan.traffic.message.has_payload() && plan.traffic.payload_bytes < MARKER_BYTES {
        return Err(format!("--size {}: expected at least {MARKER_BYTES} in a fan-out, a marker's length", plan.traffic.payload_bytes));
    }
    for url in flags.publish_url.iter_mut().chain(&mut flags.publish_http) {
        recipe.complete(url);
    }
    flags.publish_url.iter().chain(&flags.publish_http).try_for_each(check_target)?;
    plan.fanout = Fanout {
        publishers,
        channels: flags.channels,
        channel: flags.channel,
        subscribe: silent_template("--subscribe", subscribe)?,
        subscribe_ack: flags.subscribe_ack.as_deref().or(recipe.subscribe_ack).map(|text| text.as_bytes().to_vec()),
        publish: match flags.publish_http {
            Some(url) => Publish::Http { url, fields: flags.publish_header },
            None => Publish::WebSocket { url: flags.publish_url },
        },
    };
    Ok(plan)
}

/// Each channel has a subscriber, and subscribers come to different ones.
fn check_channels(channels: usize, subscribe: Option<&str>, plan: &Plan) -> Result<(), String> {
    if channels > plan.connections {
        return Err(format!("--channels {channels}: expected at most the subscribers of -c, {}", plan.connections));
    }
    let names_channel = |text: &str| text.contains("${channel}");
    if channels == 1 || subscribe.is_some_and(names_channel) || plan.urls.iter().all(|url| names_channel(&url.target)) {
        return Ok(());
    }
    Err(format!("--channels {channels}: expected ${{channel}} in every URL or in --subscribe"))
}

pub(super) fn idle(flags: IdleFlags) -> Result<Plan, String> {
    let mut plan = plan(Scenario::Idle, flags.common, flags.connections)?.0;
    if flags.steps > flags.connections {
        return Err(format!("--steps {}: expected at most -c, {}", flags.steps, flags.connections));
    }
    plan.steps = Steps { count: flags.steps, settle: flags.settle };
    Ok(plan)
}

/// The plan of a run that sends nothing, and what the preset says of the rest.
fn plan(scenario: Scenario, flags: CommonFlags, connections: usize) -> Result<(Plan, Recipe), String> {
    let CommonFlags { mut urls, preset, opening, run } = flags;
    let recipe = preset.map_or(Ok(Recipe::default()), |preset| preset.recipe(scenario)).map_err(|error| format!("--preset: {error}"))?;
    for url in &mut urls {
        recipe.complete(url);
        check_target(url)?;
    }
    if let Some(threads) = run.threads.filter(|threads| *threads > connections) {
        return Err(format!("--threads {threads}: expected at most -c, {connections}"));
    }
    let cpus = if run.pin.is_empty() { thread::available_parallelism().map_or(1, NonZeroUsize::get) } else { run.pin.len() };
    let thresholds =
        run.threshold.iter().map(|text| Threshold::parse(text, scenario).map_err(|error| format!("--threshold {text:?}: {error}")));
    let plan = Plan {
        scenario,
        urls,
        connections,
        threads: run.threads.unwrap_or(cpus.min(connections)),
        pin: run.pin,
        traffic: Traffic {
            rate: None,
            message: Template::parse(MESSAGE)?,
            payload_bytes: PAYLOAD_BYTES,
            kind: Kind::Text,
            first_message: silent_template("--first-message", opening.first_message.as_deref().or(recipe.first_message))?,
            answer: opening.answer.clone().or(recipe.answer.map(|(ping, pong)| (ping.into(), pong.into()))),
        },
        opening: open(opening, connections),
        fanout: Fanout {
            publishers: 0,
            channels: 1,
            channel: CHANNEL.to_owned(),
            subscribe: None,
            subscribe_ack: None,
            publish: Publish::WebSocket { url: None },
        },
        steps: Steps { count: 0, settle: Duration::ZERO },
        duration: None,
        count: None,
        warmup: Duration::ZERO,
        timeout: run.timeout,
        pid: run.pid,
        seed: run.seed.unwrap_or_else(|| fastrand::u32(..).into()),
        labels: run.label,
        repeat: run.repeat,
        thresholds: thresholds.collect::<Result<_, _>>()?,
        json: run.json.map(|path| if path == Path::new("-") { Json::Stdout } else { Json::File(path) }),
    };
    Ok((plan, recipe))
}

fn open(flags: OpeningFlags, connections: usize) -> Opening {
    Opening {
        rate: flags.connect_rate.or(flags.ramp.map(|ramp| connections as f64 / ramp.as_secs_f64())),
        inflight: flags.connect_inflight,
        close: false,
        local_addresses: flags.local_addr.map_or(Vec::new(), |list| list.0),
        fields: flags.header,
        subprotocols: flags.subprotocol,
        deflate: flags.deflate,
        insecure: flags.insecure,
        ca: flags.ca,
    }
}

/// Where the message comes from, beside `-f`.
#[derive(Clone, Copy)]
struct Source<'a> {
    flag: &'static str,
    text: Option<&'a str>,
    preset: Option<&'a str>,
}

impl Plan {
    /// Fills in what is sent, and for how long.
    fn send(&mut self, flags: &TrafficFlags, source: Source<'_>) -> Result<(), String> {
        let text = source.text.or(source.preset).unwrap_or(MESSAGE);
        self.traffic.message = match &flags.file {
            Some(path) => read_template(path, flags.binary).map_err(|error| format!("--file {}: {error}", path.display()))?,
            None => template(source.flag, text)?,
        };
        if flags.size.is_some() && !self.traffic.message.has_payload() {
            return Err("--size: sizes ${payload}, which the message does not hold".into());
        }
        self.traffic.payload_bytes = flags.size.unwrap_or(PAYLOAD_BYTES);
        self.traffic.kind = if flags.binary { Kind::Binary } else { Kind::Text };
        self.traffic.rate = flags.rate;
        self.duration = duration(flags.duration, flags.count);
        self.count = flags.count;
        self.warmup = flags.warmup;
        Ok(())
    }
}

/// The default only where nothing else ends the run.
fn duration(duration: Option<Duration>, count: Option<u64>) -> Option<Duration> {
    duration.or(count.is_none().then_some(DURATION))
}

fn template(flag: &str, text: &str) -> Result<Template, String> {
    Template::parse(text).map_err(|error| format!("{flag} {text:?}: {error}"))
}

/// A template of something that is not measured, and must not be taken for it.
fn silent_template(flag: &str, text: Option<&str>) -> Result<Option<Template>, String> {
    let Some(text) = text else { return Ok(None) };
    let template = template(flag, text)?;
    if template.has_marker() {
        Err(format!("{flag} {text:?}: only what is measured may hold ${{marker}} or ${{payload}}"))
    } else {
        Ok(Some(template))
    }
}

fn check_target(url: &Url) -> Result<(), String> {
    silent_template("URL", Some(&url.target)).map(|_| ())
}

/// The file's content as a template or, if it is not text, as it is.
fn read_template(path: &Path, binary: bool) -> Result<Template, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    match str::from_utf8(&bytes) {
        Ok(text) => Template::parse(text),
        Err(_) if binary => Ok(Template::literal(bytes)),
        Err(error) => Err(format!("not UTF-8 from byte {} on: expected --binary", error.valid_up_to())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cli::{Command, Usage};

    fn run(line: &str) -> Result<Plan, Usage> {
        match Command::from_arguments(["fantail-load"].into_iter().chain(line.split(' '))) {
            Ok(Command::Run(plan)) => Ok(*plan),
            Ok(doctor) => panic!("{doctor:?}"),
            Err(usage) => Err(usage),
        }
    }

    fn plan(line: &str) -> Plan {
        run(line).unwrap_or_else(|usage| panic!("{line}: {usage:?}"))
    }

    /// Without the way to the help.
    fn refusal(line: &str) -> String {
        run(line).unwrap_err().text.split(" (see `").next().unwrap().to_owned()
    }

    #[test]
    fn defaults() {
        let echo = plan("echo ws://127.0.0.1:8000/echo --seed 7 -t 1");
        let line = "fantail-load echo ws://127.0.0.1:8000/echo connections=50 threads=1 duration=10s warmup=2s rate=closed-loop \
                    message='${payload}' payload=64B text inflight=64 deflate=off timeout=10s seed=7";
        assert_eq!(echo.to_string(), line);
        let line = "fantail-load connect ws://a/ connections=1000 threads=1 inflight=64 deflate=off timeout=10s seed=7";
        assert_eq!(plan("connect ws://a -t 1 --seed 7").to_string(), line);
        let line = "fantail-load idle ws://a/ connections=1000 threads=1 steps=5 settle=1s inflight=64 deflate=off timeout=10s seed=7";
        assert_eq!(plan("idle ws://a -t 1 --seed 7").to_string(), line);
        let line = "fantail-load fanout ws://a/ connections=50 threads=1 publishers=1 channels=1 channel=load publish=websocket duration=10s \
                    warmup=2s rate=closed-loop message='${payload}' payload=64B text inflight=64 deflate=off timeout=10s seed=7";
        assert_eq!(plan("fanout ws://a -t 1 --seed 7").to_string(), line);
        assert_eq!(plan("echo ws://a -c 1").threads, 1);
        assert_eq!(plan("echo ws://a --pin 0,1,2").threads, 3);
    }

    #[test]
    fn every_value_that_was_given_stands_in_the_line() {
        let line = "echo wss://a wss://b:1/x -c 1k -t 2 -d 1m -n 20k --warmup 0 -R 1.5k -m ${marker} --binary --connect-rate 500 --connect-inflight 8 \
                    --local-addr 127.0.0.1-127.0.0.8 -k --subprotocol x,y --deflate --timeout 500ms --pid 4 --pin 0,1 --seed 9 --repeat 3";
        let resolved = "fantail-load echo wss://a/ wss://b:1/x connections=1000 threads=2 duration=60s count=20000 warmup=0ns rate=1500/s \
                        message='${marker}' binary connect-rate=500/s inflight=8 deflate=on subprotocol=x,y local-addresses=8 \
                        certificates=unverified timeout=500ms seed=9 pid=4 pin=0,1 repeat=3";
        assert_eq!(plan(&line.split_whitespace().collect::<Vec<_>>().join(" ")).to_string(), resolved);
    }

    #[test]
    fn what_a_preset_or_a_field_adds_stands_in_the_line_but_no_secret() {
        let line = "fanout ws://a/x -t 1 --seed 7 --preset centrifugo -H Host:b -H Authorization:secret --ca f.pem";
        let resolved = "fantail-load fanout ws://a/x connections=50 threads=1 publishers=1 channels=1 channel=load \
                        subscribe='{\"id\":2,\"subscribe\":{\"channel\":\"${channel}\"}}' subscribe-ack='\"id\":2,\"subscribe\"' publish=websocket \
                        duration=10s warmup=2s rate=closed-loop message='{\"id\":3,\"publish\":{\"channel\":\"${channel}\",\"data\":{\"m\":\"${pay…' \
                        payload=64B text inflight=64 deflate=off headers=Host,Authorization ca=f.pem first-message='{\"id\":1,\"connect\":{}}' \
                        answer='{}={}' timeout=10s seed=7";
        assert_eq!(plan(line).to_string(), resolved);
        let http = plan("fanout ws://a --publish-http http://a/p --publish-header X-API-Key:secret").to_string();
        assert!(http.contains(" publish=http://a/p publish-headers=X-API-Key duration=10s ") && !http.contains("secret"), "{http}");
    }

    #[test]
    fn a_count_alone_ends_the_run() {
        let extent = |line| {
            let plan = plan(line);
            (plan.duration, plan.count, plan.warmup)
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(extent("echo ws://a"), (seconds(10), None, WARMUP));
        assert_eq!(extent("echo ws://a -n 1k"), (None, Some(1000), WARMUP));
        assert_eq!(extent("echo ws://a -n 1k -d 5s"), (seconds(5), Some(1000), WARMUP));
        assert_eq!(extent("connect ws://a"), (None, None, Duration::ZERO));
        assert_eq!(extent("connect ws://a --close"), (seconds(10), None, WARMUP));
        assert_eq!(extent("connect ws://a --close -n 5 --warmup 0"), (None, Some(5), Duration::ZERO));
        assert_eq!(refusal("connect ws://a -n 5"), "the following required arguments were not provided: --close");
    }

    #[test]
    fn opening_labels_and_report() {
        let idle = plan("idle ws://a -c 1k --ramp 2s --label a=b --label c=d --json - -H X-A:b --ca f.pem --threshold connected==1k");
        assert_eq!(idle.opening.rate, Some(500.0));
        assert_eq!(idle.labels, [("a".into(), "b".into()), ("c".into(), "d".into())]);
        assert!(matches!(idle.json, Some(Json::Stdout)));
        assert_eq!(idle.opening.fields, [("X-A".into(), "b".into())]);
        assert_eq!(idle.opening.ca.as_deref(), Some(Path::new("f.pem")));
        assert_eq!(idle.thresholds[0].to_string(), "connected==1k");
        assert!(matches!(plan("idle ws://a --json f").json, Some(Json::File(path)) if path == Path::new("f")));
    }

    #[test]
    fn presets_fill_in_what_flags_leave_open() {
        let centrifugo = plan("fanout ws://a --preset centrifugo --channels 2");
        let text = |template: &Option<Template>| template.as_ref().map(Template::to_string);
        assert_eq!(centrifugo.urls[0].to_string(), "ws://a/connection/websocket");
        assert_eq!(text(&centrifugo.traffic.first_message).as_deref(), Some(r#"{"id":1,"connect":{}}"#));
        assert_eq!(centrifugo.traffic.answer, Some((b"{}".to_vec(), b"{}".to_vec())));
        assert_eq!(text(&centrifugo.fanout.subscribe).as_deref(), Some(r#"{"id":2,"subscribe":{"channel":"${channel}"}}"#));
        assert_eq!(centrifugo.fanout.subscribe_ack.as_deref(), Some(&br#""id":2,"subscribe""#[..]));
        let message = Template::parse(r#"{"id":3,"publish":{"channel":"${channel}","data":{"m":"${payload}"}}}"#).unwrap();
        assert_eq!(centrifugo.traffic.message, message);
        assert_eq!((centrifugo.fanout.publishers, centrifugo.fanout.channels), (2, 2));

        let given =
            plan("fanout ws://a/x --preset centrifugo --first-message f --subscribe s --subscribe-ack k --publish ${marker} --answer p=q");
        assert_eq!(given.urls[0].to_string(), "ws://a/x");
        assert_eq!((text(&given.traffic.first_message).as_deref(), text(&given.fanout.subscribe).as_deref()), (Some("f"), Some("s")));
        assert_eq!(given.fanout.subscribe_ack.as_deref(), Some(&b"k"[..]));
        assert_eq!(given.traffic.message, Template::parse("${marker}").unwrap());
        assert_eq!(given.traffic.answer, Some((b"p".to_vec(), b"q".to_vec())));

        let error = "--preset: centrifugo does not echo; expected connect, fanout or idle";
        assert_eq!(refusal("echo ws://a --preset centrifugo"), error);
    }

    #[test]
    fn publications_over_a_websocket_elsewhere_or_over_http() {
        let elsewhere = plan("fanout ws://a --preset fantail --publish-url ws://b");
        let Publish::WebSocket { url: Some(url) } = elsewhere.fanout.publish else { panic!("{:?}", elsewhere.fanout) };
        assert_eq!(url.to_string(), "ws://b/raw/${channel}");

        let http = plan("fanout ws://a --preset fantail --publish-http http://a:9000/api/publish --publish-header X-API-Key:k");
        assert!(http.to_string().contains(" publish=http://a:9000/api/publish "), "{http}");
        assert_eq!(http.traffic.message, Template::parse(r#"{"channel":"${channel}","data":"${payload}"}"#).unwrap());
        let Publish::Http { fields, .. } = http.fanout.publish else { panic!("{:?}", http.fanout) };
        assert_eq!(fields, [("X-API-Key".into(), "k".into())]);

        let body = plan("fanout ws://a --preset fantail --publish-http http://a/ --publish-body [${payload}]");
        assert_eq!(body.traffic.message, Template::parse("[${payload}]").unwrap());
    }

    #[test]
    fn publishers_come_before_subscribers() {
        let websocket = plan("fanout ws://a/${channel} -c 4 --channels 2 --publishers 3 --channel c");
        assert_eq!(websocket.connections_in_all(), 7);
        let channels: Vec<_> = (0..7).map(|number| (websocket.is_publisher(number), websocket.channel_of(number).into_owned())).collect();
        let expected = [(true, 0), (true, 1), (true, 0), (false, 0), (false, 1), (false, 0), (false, 1)];
        assert_eq!(channels, expected.map(|(publishes, channel)| (publishes, format!("c-{channel}"))));
        assert_eq!(websocket.subscriber_index(3), 0);

        let http = plan("fanout ws://a/${channel} -c 4 --channels 2 --publish-http http://a");
        assert_eq!((http.connections_in_all(), http.is_publisher(0), http.channel_of(3)), (4, false, "load-1".into()));
        let echo = plan("echo ws://a -c 4");
        assert_eq!((echo.connections_in_all(), echo.is_publisher(0), echo.channel_of(3)), (4, false, "load".into()));
    }

    #[test]
    fn flags_that_do_not_fit_together() {
        for (line, error) in [
            ("echo ws://a -c 2 -t 3", "--threads 3: expected at most -c, 2"),
            ("echo ws://a -m hello -s 5", "--size: sizes ${payload}, which the message does not hold"),
            ("echo ws://a/${payload}", "URL \"/${payload}\": only what is measured may hold ${marker} or ${payload}"),
            (
                "echo ws://a --first-message ${marker}",
                "--first-message \"${marker}\": only what is measured may hold ${marker} or ${payload}",
            ),
            ("echo ws://a --ramp 1s --connect-rate 5", "the argument '--ramp <TIME>' cannot be used with '--connect-rate <N>'"),
            ("echo ws://a -k --ca x", "the argument '--insecure' cannot be used with '--ca <FILE>'"),
            ("idle ws://a -c 5 --steps 6", "--steps 6: expected at most -c, 5"),
            ("fanout ws://a -m hello", "the publication: expected ${marker} or ${payload} in it, by which its deliveries are known"),
            ("fanout ws://a -s 31", "--size 31: expected at least 32 in a fan-out, a marker's length"),
            ("fanout ws://a -c 2 --channels 3", "--channels 3: expected at most the subscribers of -c, 2"),
            ("fanout ws://a --channels 3", "--channels 3: expected ${channel} in every URL or in --subscribe"),
            ("fanout ws://a/${channel} --channels 3 --publishers 2", "--publishers 2: expected at least --channels, 3"),
            ("fanout ws://a --publish-body x", "the following required arguments were not provided: --publish-http <URL>"),
            (
                "fanout ws://a --publish-http http://a --publishers 1025",
                "--publishers 1025: expected at most 1024 with --publish-http, each is a thread",
            ),
            (
                "fanout ws://a --publish-http http://a -m x",
                "--publish: goes over a WebSocket; expected --publish-body beside --publish-http",
            ),
        ] {
            assert_eq!(refusal(line), error);
        }
        assert!(refusal("echo ws://a -m ${mark}").starts_with("--message \"${mark}\": byte 0: ${mark} is not known"));
    }

    #[test]
    fn a_message_from_a_file() {
        let path = std::env::temp_dir().join(format!("fantail-load-{}", std::process::id()));
        let line = |flags: &str| format!("echo ws://a -f {}{flags}", path.display());
        let refused = |what: &str| format!("--file {}: {what}", path.display());
        fs::write(&path, "é ${payload}").unwrap();
        assert_eq!(plan(&line(" -s 1KiB")).traffic.message, Template::parse("é ${payload}").unwrap());
        fs::write(&path, b"a\xff${").unwrap();
        assert_eq!(plan(&line(" --binary")).traffic.message, Template::literal(b"a\xff${".to_vec()));
        assert_eq!(refusal(&line("")), refused("not UTF-8 from byte 1 on: expected --binary"));
        fs::remove_file(&path).unwrap();
        assert_eq!(refusal(&line("")), refused("No such file or directory (os error 2)"));
    }
}
