//! What a path on the edge port leads to. Imports the demo's files.

use crate::demo::File;

/// Where a request goes.
#[derive(Debug, PartialEq)]
pub enum Route {
    /// A WebSocket that sends every message back.
    Echo,
    /// A WebSocket that gets a channel's publications as they are.
    Raw(String),
    /// A WebSocket that gets the publications of these channels, each with its channel's name.
    Stream(Vec<String>),
    /// A WebSocket of the client protocol; whether its pings are frames, and whether the query asks for Protobuf.
    Client {
        /// `cf_ws_frame_ping_pong=true`
        native_pings: bool,
        /// `format=protobuf` or `cf_protocol=protobuf`
        protobuf: bool,
    },
    /// A file of the demo page.
    File(&'static File),
    /// Nothing.
    Unknown,
}

impl Route {
    /// The route of a path and a query, which are still percent-encoded.
    pub fn of(path: &[u8], query: &[u8], files: &'static [File]) -> Route {
        if path == b"/echo" {
            return Route::Echo;
        }
        if let Some(channel) = path.strip_prefix(b"/raw/") {
            let channel = percent_encoding::percent_decode(channel).decode_utf8();
            return channel.map_or(Route::Unknown, |channel| Route::Raw(channel.into_owned()));
        }
        if path == b"/stream" {
            let names = fields(query)
                .filter(|(name, _)| name == "channels")
                .flat_map(|(_, value)| value.split(',').filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect::<Vec<_>>());
            return Route::Stream(names.collect());
        }
        if path == b"/connection/websocket" {
            let asks = |name: &str, value: &str| fields(query).any(|field| field == (name.into(), value.into()));
            return Route::Client {
                native_pings: asks("cf_ws_frame_ping_pong", "true"),
                protobuf: asks("format", "protobuf") || asks("cf_protocol", "protobuf"),
            };
        }
        files.iter().find(|file| file.path.as_bytes() == path).map_or(Route::Unknown, Route::File)
    }
}

/// The fields of a query, as forms write them (WHATWG URL §5.1).
pub fn fields(query: &[u8]) -> impl Iterator<Item = (String, String)> {
    let text = |part: &[u8]| {
        let part: Vec<u8> = part.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        percent_encoding::percent_decode(&part).decode_utf8_lossy().into_owned()
    };
    query.split(|&byte| byte == b'&').map(move |field| {
        let (name, value) = field.split_at(field.iter().position(|&byte| byte == b'=').unwrap_or(field.len()));
        (text(name), text(value.strip_prefix(b"=").unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        static FILES: &[File] = &[File { path: "/", content_type: "text/html", body: b"" }];
        for (path, route) in [
            ("/echo", Route::Echo),
            ("/raw/ticker:AAPL", Route::Raw("ticker:AAPL".into())),
            ("/raw/a%20b/c", Route::Raw("a b/c".into())),
            ("/raw/%ff", Route::Unknown),
            ("/", Route::File(&FILES[0])),
            ("/echo/", Route::Unknown),
        ] {
            assert_eq!(Route::of(path.as_bytes(), b"", FILES), route);
        }
    }

    #[test]
    fn queries() {
        let route = |path: &str, query: &str| Route::of(path.as_bytes(), query.as_bytes(), &[]);
        assert_eq!(
            route("/stream", "x=1&channels=a,b%2Cc,,d+e&channels=f"),
            Route::Stream(vec!["a".into(), "b".into(), "c".into(), "d e".into(), "f".into()])
        );
        assert_eq!(route("/stream", ""), Route::Stream(vec![]));
        let client = |query| route("/connection/websocket", query);
        assert_eq!(client(""), Route::Client { native_pings: false, protobuf: false });
        assert_eq!(client("cf_protocol=protobuf&cf_ws_frame_ping_pong=true"), Route::Client { native_pings: true, protobuf: true });
        assert_eq!(client("format=protobuf"), Route::Client { native_pings: false, protobuf: true });
    }
}
