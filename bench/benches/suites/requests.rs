//! Opening handshakes as clients send them.

/// A name and the request's bytes.
pub type Named = (&'static str, &'static [u8]);

/// All of them, the shortest first.
pub const ALL: [Named; 4] = [("ws", WS), ("chrome", CHROME), ("firefox", FIREFOX), ("cookies", COOKIES)];

/// The package ws on Node.js.
pub const WS: &[u8] = b"GET /raw/prices HTTP/1.1\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Connection: Upgrade\r\n\
    Upgrade: websocket\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
    Host: stream.example.com:8080\r\n\r\n";

/// Chrome.
pub const CHROME: &[u8] = b"GET /raw/prices HTTP/1.1\r\n\
    Host: stream.example.com\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36\r\n\
    Upgrade: websocket\r\n\
    Origin: https://www.example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7\r\n\
    Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// Firefox.
pub const FIREFOX: &[u8] = b"GET /raw/prices HTTP/1.1\r\n\
    Host: stream.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: */*\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Origin: https://www.example.com\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\
    Sec-WebSocket-Key: VnRyMTdKc2RhcGxRd0U5Yg==\r\n\
    DNT: 1\r\n\
    Sec-GPC: 1\r\n\
    Connection: keep-alive, Upgrade\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Sec-Fetch-Mode: websocket\r\n\
    Sec-Fetch-Site: same-site\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    Upgrade: websocket\r\n\r\n";

/// A browser behind a load balancer, with cookies and a bearer token: 3 KB.
pub const COOKIES: &[u8] = b"GET /raw/prices?client=web&version=4.18.2&resume=1758623377 HTTP/1.1\r\n\
    Host: stream.example.com\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    Authorization: Bearer v4.2hbGcOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IjdmM2QifQ.pQergE_Iy7fwZaXxbqDyHdn-CEfr9RGdzXBL5POcbXA\
    306y_W5jXB-_nArEsQhkDey54mb19Mip68blBrWxXjH-SfhPxxEL9pKqIUiETaXAGNYdGcywbtCP7xHT78_tk7eCVHy7tJ1iwFKnDdfvj9qrYVq1OyOpq4C5\
    lidVJac0F3cLhUNNo8heRfeDP5UeP1hWqtaWH5Djnq8nfwfBNPliFRCK6jrFI5JQAY1sgqw4qOP9hXvgO2Ld-yOUqAvgeTA3etl8Y5GgAobKsgG78DgXhIf_\
    IBrJ-BnG6yO6uZHid8DC6KGsVqEWMimSUg_ikfCN2kSgLqwdUhWvLOF36sv4iAA-iPWUa8t2QA1RvUGTNYkFaYX1cIEhm-2p1PyPoraQLVGBtVxMWCRdq1jd\
    aXgDCZEHbYXN1NT2Nb4_mevgxfoaBtUyk95SnzCAbDXS3RW36YAQQ4TCmuqRXmI1xgMxjsajBgaJ91u7fjadMWEZC6MIkBC0os0eIoQMgUAu2XtRhHfP6OcG\
    ECjrCeRpsft7sgw8fvnRDg3uRC3dosq0GwG2K.CQNzBiC4txMLlCUcgW5efOsQcDkvSG21N2lEuNh4xY88y2_iVUDrlA7zqNBNDsc0QpFLG5XtvNk7cFrHco\
    _YoDchm-tpeh_V61YqkrelUFat22UU6JyKscqDhfpx9F1VLuzuO2YsjaLoatonQLsUn6hLTUF3OSflDIgVwEH1tJMPtrEMPiCJmg7bFsbrkz6fwSNbor5CqE\
    FjQUEIX9NcGQvRxNNQ7TTToNNdWoFHUWD8CK_uT9fXPIY3jFNS9Z1eB68WvXIQO3T-FFQJd9uFcm7rtZpQK5EvqxahjuX8wpsOEhHrjYgCXI3u8c5Baq_TVZ\
    atD66j_JtfBHDt8EtXpB\r\n\
    User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537\
    .36 Edg/138.0.0.0\r\n\
    Upgrade: websocket\r\n\
    Origin: https://www.example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7\r\n\
    Cookie: _ga=GA1.1.1204829471.1751289310; _gid=GA1.2.771936402.1758620001; _ga_7XK2PQ94LD=GS2.1.s1758620001$o41$g1$t17586\
    23377$j60$l0$h0; session=NVY8V7bD8P5hEpIKanr6XkZiNia3nn-3s9IRn8S95txkjetMaRvt0EuETd-bV2bYxLacl9mW78wwHXgVZ3c8fvN6v7Itulf\
    jS_kd_IzpM0DAd6cF1iU8OYgBj2sD_2-DFUEszjy_9OFvfrY3xYXSQWxTrFXSs8PLaJqQD0PZwPV1w13S-9HHk17ESUUkXLQANXOUbkCPoROcEodiulmcDyN\
    Lp5azrAh1xcNgIvL90A0PxjMK99Mw5agKNjO5yBos-y96Mq-FAu-FsEhNCsY0aIr7Yprj_sMEPMVhWtIvsHDxVLcqD64IaXBKTOE6yz2ms1e1SBsX6jEJFvj\
    LZeo0YQbU; csrftoken=-_Sd1oP8Tis6jNAkNcgyedKV4iBuMF8xdSjOG6JNqJqWHipxVlTPfQfhMp4EuYbU; _fbp=fb.1.1751289310977.580237765\
    ; theme=dark; locale=en-GB; tz=Europe%2FBerlin; consent=%7B%22necessary%22%3Atrue%2C%22analytics%22%3Atrue%2C%22marketin\
    g%22%3Afalse%7D; AWSALB=dj8Roh-Q0iNwpvNwyi1PZB2HLKVzgcmc4EWaE4NBDgjkxy4jqrkspEc7x8SRE8hQsRUkmbofz-xtDsUTkpR8PB-adXAcJ_Hw\
    ge5F7dpdzdqAtdc-lGzIfugI; AWSALBCORS=6M2nbIFKyOU6tC0ohtfX0uifpfBKpdSdmsxgAuWJ5PWKC0P9USrZyiekqRseWJbdiw38NoBxvaL0UgHkTC8\
    Yhu6DBCX7I-Mg0Ad-cKE4znrmJwWpwp-12Nzj; cf_clearance=1FckgT5mZuR3NZyaGLlyubtyETz-07SQIZxLRHsefwLWTt7rTeWQ95S1VNnH5p-Izayl\
    P56NygSJTx4ntrN5kOXoeK14UABH5trM9lbhKMlmMPSUdF19u2P7oS1EgmkfjNgWV0ZT79O9ggenxDRVfzIyhMxRF98eWUshEwV6ysFSYKsv2HdA\r\n\
    X-Forwarded-For: 203.0.113.61, 198.51.100.7\r\n\
    X-Forwarded-Proto: https\r\n\
    X-Forwarded-Port: 443\r\n\
    X-Amzn-Trace-Id: Root=1-68d2a1f1-13f98aa8520160a53573d711\r\n\
    X-Request-Id: 7b0a6f0e-5f5d-4a44-9e0c-3f9f2f1f7f0b\r\n\
    Sec-WebSocket-Key: q4xkcO32u266gldTuKaSOw==\r\n\
    Sec-WebSocket-Protocol: centrifuge-json, v2.bearer\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
