//! The demo that `fantail demo` serves: a page to look at, and the feeds that keep it moving.
//!
//! It exists so that one command shows what the server is for. This file owns what the demo asks of the configuration and the
//! table of the page's files, which are compiled into the binary; [`feeds`] owns what is published. Neither imports anything
//! else of the server.

pub mod feeds;

/// The demo's own defaults, key and text: clients publish, but not to what the page shows; prices have keys, and a new page gets
/// the last of each; the page knows how many look at it.
pub const SETTINGS: &[(&str, &str)] = &[
    ("hub.publish", "anyone"),
    ("hub.namespaces.ticker.publish", "nobody"),
    ("hub.namespaces.ticker.keys_max", "1000"),
    ("hub.namespaces.ticker.last_value", "true"),
    ("hub.namespaces.game.publish", "nobody"),
    ("hub.namespaces.demo.presence", "true"),
    ("hub.namespaces.demo.join_leave", "true"),
];

/// One file of the page, as the edge port answers it.
#[derive(Debug, PartialEq)]
pub struct File {
    /// The request path, exactly.
    pub path: &'static str,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The whole body.
    pub body: &'static [u8],
}

/// Every file of the page; `/` is the page itself.
pub const FILES: &[File] = &[
    File { path: "/", content_type: "text/html; charset=utf-8", body: include_bytes!("page/index.html") },
    File { path: "/style.css", content_type: "text/css; charset=utf-8", body: include_bytes!("page/style.css") },
    File { path: "/app.js", content_type: "text/javascript; charset=utf-8", body: include_bytes!("page/app.js") },
    // The Centrifuge protocol's own client, as npm has it: what runs here runs against Centrifugo too.
    File { path: "/centrifuge.js", content_type: "text/javascript; charset=utf-8", body: include_bytes!("page/centrifuge.js") },
    File {
        path: "/centrifuge.LICENSE.txt",
        content_type: "text/plain; charset=utf-8",
        body: include_bytes!("page/centrifuge.LICENSE.txt"),
    },
    File { path: "/favicon.svg", content_type: "image/svg+xml", body: include_bytes!("page/favicon.svg") },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> &'static str {
        let file = FILES.iter().find(|file| file.path == path).unwrap();
        std::str::from_utf8(file.body).unwrap()
    }

    #[test]
    fn the_page_refers_to_served_files_only() {
        let references: Vec<&str> = ["href=\"", "src=\""]
            .iter()
            .flat_map(|attribute| text("/").split(attribute).skip(1))
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert!(references.len() >= FILES.len() - 1);
        for reference in references {
            assert!(FILES.iter().any(|file| file.path == reference), "{reference} is not served");
        }
    }

    #[test]
    fn the_page_knows_every_channel_and_symbol_and_the_size_of_the_world() {
        let script = text("/app.js");
        for channel in [feeds::PRICES_CHANNEL, feeds::WORLD_CHANNEL] {
            assert!(script.contains(&format!("\"{channel}\"")), "{channel}");
        }
        for (symbol, _) in feeds::SYMBOLS {
            assert!(script.contains(&format!("\"{symbol}\"")), "{symbol}");
        }
        let world =
            format!("{{ width: {}, height: {}, unitsPerPoint: {} }}", feeds::WORLD_WIDTH, feeds::WORLD_HEIGHT, feeds::UNITS_PER_POINT);
        assert!(script.contains(&world), "{world}");
    }
}
