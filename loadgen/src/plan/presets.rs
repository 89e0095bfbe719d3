//! What is known of servers that many people measure: paths and messages. Owns that knowledge; a flag that says otherwise wins. Imports `metrics`
//! and `url`.

use clap::ValueEnum;

use crate::{
    metrics::Scenario,
    url::{Scheme, Url},
};

/// A server, as `--preset` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Fantail: /echo, and /raw/CHANNEL for a fan-out
    Fantail,
    /// Centrifugo's JSON protocol; a fan-out needs a namespace whose clients may publish and subscribe
    Centrifugo,
    /// The echo server of uWebSockets' examples, which takes any path; no fan-out
    UwsEcho,
    /// The echo server that npm ws's README shows, which takes any path; no fan-out
    WsEcho,
}

/// What a preset says of one scenario. Messages are templates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// Path of WebSocket URLs that have none.
    pub target: Option<&'static str>,
    /// `--first-message`.
    pub first_message: Option<&'static str>,
    /// `--answer`: what is answered, and with what.
    pub answer: Option<(&'static str, &'static str)>,
    /// `--subscribe`.
    pub subscribe: Option<&'static str>,
    /// `--subscribe-ack`.
    pub subscribe_ack: Option<&'static str>,
    /// `--message`, or `--publish`.
    pub message: Option<&'static str>,
    /// `--publish-body`.
    pub publish_body: Option<&'static str>,
    /// Path of `--publish-http` that has none.
    pub publish_target: Option<&'static str>,
}

impl Preset {
    /// What this server needs for a scenario; an error if it has no such thing.
    pub fn recipe(self, scenario: Scenario) -> Result<Recipe, String> {
        match (self, scenario) {
            (Preset::Fantail, Scenario::Fanout) => Ok(Recipe {
                target: Some("/raw/${channel}"),
                publish_body: Some(r#"{"channel":"${channel}","data":"${payload}"}"#),
                publish_target: Some("/api/publish"),
                ..Recipe::default()
            }),
            (Preset::Fantail, _) => Ok(Recipe { target: Some("/echo"), ..Recipe::default() }),
            (Preset::Centrifugo, Scenario::Fanout) => Ok(Recipe {
                subscribe: Some(r#"{"id":2,"subscribe":{"channel":"${channel}"}}"#),
                // The id alone would take an error for an answer.
                subscribe_ack: Some(r#""id":2,"subscribe""#),
                message: Some(r#"{"id":3,"publish":{"channel":"${channel}","data":{"m":"${payload}"}}}"#),
                publish_body: Some(r#"{"channel":"${channel}","data":{"m":"${payload}"}}"#),
                publish_target: Some("/api/publish"),
                ..Self::centrifugo_session()
            }),
            (Preset::Centrifugo, Scenario::Connect | Scenario::Idle) => Ok(Self::centrifugo_session()),
            (Preset::UwsEcho | Preset::WsEcho, Scenario::Connect | Scenario::Echo | Scenario::Idle) => Ok(Recipe::default()),
            (Preset::Centrifugo, Scenario::Echo) => Err("centrifugo does not echo; expected connect, fanout or idle".into()),
            (Preset::UwsEcho | Preset::WsEcho, Scenario::Fanout) => {
                Err("an echo server has no fan-out; expected connect, echo or idle".into())
            }
        }
    }

    /// A session that stays: the server closes those that send no connect command, and those that do not answer its pings.
    fn centrifugo_session() -> Recipe {
        Recipe {
            target: Some("/connection/websocket"),
            first_message: Some(r#"{"id":1,"connect":{}}"#),
            answer: Some(("{}", "{}")),
            ..Recipe::default()
        }
    }
}

impl Recipe {
    /// Gives a URL that names no path the server's.
    pub fn complete(&self, url: &mut Url) {
        let target = if url.scheme == Scheme::Http { self.publish_target } else { self.target };
        if let (Some(target), "/") = (target, url.target.as_str()) {
            url.target = target.to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Template;

    #[test]
    fn a_path_is_filled_in_only_where_there_is_none() {
        let recipe = Preset::Fantail.recipe(Scenario::Echo).unwrap();
        for (given, completed) in
            [("ws://a:1", "ws://a:1/echo"), ("ws://a:1/", "ws://a:1/echo"), ("ws://a:1/x", "ws://a:1/x"), ("ws://a:1/?x", "ws://a:1/?x")]
        {
            let mut url = Url::parse(given).unwrap();
            recipe.complete(&mut url);
            assert_eq!(url.to_string(), completed);
        }
    }

    #[test]
    fn every_template_parses_and_publications_can_be_recognised() {
        for preset in Preset::value_variants() {
            for scenario in [Scenario::Connect, Scenario::Echo, Scenario::Fanout, Scenario::Idle] {
                let Ok(recipe) = preset.recipe(scenario) else { continue };
                for text in [recipe.target, recipe.first_message, recipe.subscribe].into_iter().flatten() {
                    assert!(!Template::parse(text).unwrap().has_marker(), "{text}");
                }
                for text in [recipe.message, recipe.publish_body].into_iter().flatten() {
                    assert!(Template::parse(text).unwrap().has_payload(), "{text}");
                }
            }
        }
    }

    #[test]
    fn what_a_server_cannot_do_is_refused() {
        let refused = |preset: Preset, scenario| preset.recipe(scenario).unwrap_err();
        assert_eq!(refused(Preset::Centrifugo, Scenario::Echo), "centrifugo does not echo; expected connect, fanout or idle");
        assert_eq!(refused(Preset::WsEcho, Scenario::Fanout), "an echo server has no fan-out; expected connect, echo or idle");
        assert_eq!(refused(Preset::UwsEcho, Scenario::Fanout), "an echo server has no fan-out; expected connect, echo or idle");
    }
}
