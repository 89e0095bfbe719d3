//! What a path on the edge port leads to. Imports the demo's files.

use crate::demo::File;

/// Where a request goes.
#[derive(Debug, PartialEq)]
pub enum Route {
    /// A WebSocket that sends every message back.
    Echo,
    /// A WebSocket that gets a channel's publications as they are.
    Raw(String),
    /// A file of the demo page.
    File(&'static File),
    /// Nothing.
    Unknown,
}

impl Route {
    /// The route of a path, which is still percent-encoded.
    pub fn of(path: &[u8], files: &'static [File]) -> Route {
        if path == b"/echo" {
            return Route::Echo;
        }
        if let Some(channel) = path.strip_prefix(b"/raw/") {
            let channel = percent_encoding::percent_decode(channel).decode_utf8();
            return channel.map_or(Route::Unknown, |channel| Route::Raw(channel.into_owned()));
        }
        files.iter().find(|file| file.path.as_bytes() == path).map_or(Route::Unknown, Route::File)
    }
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
            assert_eq!(Route::of(path.as_bytes(), FILES), route);
        }
    }
}
