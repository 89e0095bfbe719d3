//! Tokens of another implementation, good and bad, and every way to be refused.

use std::collections::BTreeMap;

use jsonwebtoken::{EncodingKey, encode};
use serde_json::json;

use super::*;
use crate::config::Access;

const SECRET: &str = "a secret of more than thirty-two bytes";
/// Made for these tests by OpenSSL, as the other keys are.
const RSA_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAlWKg15xe70icj8KFH4dR
AcZUb4UyGPenKPS2qQNOTpLVZNX6Oq8YfdNRuPZwHt0RXxv3JJtfdJcdp863W64S
XVcmN2tahTlTtNUbTzQN7h9TW4jiYeu+EqxWebCMqZMNoYeab1JwupGBvsRUwY3Q
Cz5HbFqCx+OMyJqDQDJMw8cWIfAcW6rNun7wx9o7iS8TOoJ62GKJqawfyGR0YrIR
AxsW1sA0x2e2rK2ca8shR13A7UOlVDNx+bb9Y4tSiKV5ojm3pmyb24eM/2lMlVws
88nPAJN5MTd6dgWb06+osTJ6DQ5R2aPvb8BFE5uYy75K9UUGnlUMCsVKvKH0gvH0
7wIDAQAB
-----END PUBLIC KEY-----
";
/// Of [`RSA_PUBLIC`].
const RSA_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCVYqDXnF7vSJyP
woUfh1EBxlRvhTIY96co9LapA05OktVk1fo6rxh901G49nAe3RFfG/ckm190lx2n
zrdbrhJdVyY3a1qFOVO01RtPNA3uH1NbiOJh674SrFZ5sIypkw2hh5pvUnC6kYG+
xFTBjdALPkdsWoLH44zImoNAMkzDxxYh8Bxbqs26fvDH2juJLxM6gnrYYomprB/I
ZHRishEDGxbWwDTHZ7asrZxryyFHXcDtQ6VUM3H5tv1ji1KIpXmiObembJvbh4z/
aUyVXCzzyc8Ak3kxN3p2BZvTr6ixMnoNDlHZo+9vwEUTm5jLvkr1RQaeVQwKxUq8
ofSC8fTvAgMBAAECggEAJin/W3YYjtsnHFceuXJRkLmBgsgth1FlxEHYlI9CpzI+
EDfWaL2o7SRaoX1cIZZqxLiZSCHlnhypN+DI2UQ8bto/6jKj+psttmonQvHSiT45
ho4O/+NBOPYMVaR0GzJ1bgn9u2j9YbygwALagGRhfS3ZA2aQOM76fZlz5Ke1EuLa
saQXYujwqUQQP0qUuT9RdTsS6Ku/glFIUYraWK4H9ZuXss7t/NQsapl8a/TcuycB
F7l9T96iAFcNv6xcxwFAUgIF/jqhY18tQ4Q5xd7Nn0SHEWvNjKGNZv8VzV4OBqIR
Dwr3nj5MKi5nluBcB8J0HYMUwhgaWports7f8k6UuQKBgQDQ9cy3rayab03nxIFV
krGjMdVB8E0svKDdqcy+vmRQjwyasklPlfOVF6SbuNSmJ1222/gADL23ZNyF8OaQ
UvqowOg9BKM2mLTHjfw9gN8uZTrOmt50cqBh3s76/KOMJ4h264inX0KZdRU4B8Hy
EJ6JKfF47vcGD62Or36gozva4wKBgQC3A5PGLwz2NQZ5sdq1vav8HLqdOl0xSZEY
0u9qHdKYuGEH4vuxGpui//1xdLKdEYo2B8a2y8PNKMCgDAAUKIR2thKu37ttJo8O
u4tYCtTbuaijQGbLpSVqI5VKpL7YYTxrHcp9xFbPY7eECzleMYmYmoSNvlaZ0va7
5hQSbhVfhQKBgGV8C0nl0l9K0WZPvJSn4xgkOrOElqa0kdg2AFdfNm8dmnyDPDGn
3R461lo+4SA1HEGUAZVcmsM3/BYdEo1jj5Nn5SLFXtNERQBqB+iC72GkDnSLKKEb
jqMZyCKDkpaeGJvQ9pR7ImhPQdfthJcg1S4+raUTQeuyr5MNzo0L2iULAoGAMBFb
dbkT4XKp4bqp5AQOMOhmxzb2FSTqXCfCxA9TKdN7gLPIQYroh9ZOfccVxpU9xNUk
Bwzbv33Nofuk5aaCrB9EJvQSaSeweUEe5x/pKlDIDyCyHxigDBGOe41rpq9bTBMG
BSRVXKEnKSI9jhTau98Ro5zzZ/F15oIWkYSiTnUCgYEAqtrh0vL9nXCZm5wFrHO+
5Jv3OWFhYoiMdlNtZu+q0eSoaP+oLlHcgKBCrpdYl+f+EzShnPt+IcDKF62andDv
YUX16GweZMJqZGoJWmXs8ojLs4XSR7AVlyMKPj38jYKlStigSfpOMrOC11EXVO/d
QYIB9c1zhL58d9QgUzU0n6A=
-----END PRIVATE KEY-----
";
/// Too short.
const RSA_1024: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDB3WH5CNI/14W5VdizfutvVXCJ
wcES7uHA3vQf9itHJUksKiWtHmbMWzdhhOhYcL3WjItebDLwWKRUxyfbWJcjrG2E
VUrYg1TO7mZ9esJMLuYqEOtWAmnGn74BgLGysRWER5J2Vuvi2JcC58x7d45cqNxd
+H1ee4cC8rB3gdtDiwIDAQAB
-----END PUBLIC KEY-----
";
/// On P-256.
const ECDSA_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEHO9ITUDdskJLceunDmf4Bln/sz52
QS78uTm+8ZdsJci8nnpa0yD5yZoAyOB5ex35A+uNe3MCaST1NUY8nx78CQ==
-----END PUBLIC KEY-----
";
/// Of [`ECDSA_PUBLIC`].
const ECDSA_PRIVATE: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHmFYTGCT7sEhA9E7
orPZCKtksxNEdK6wntiBgDgRlQahRANCAAQc70hNQN2yQktx66cOZ/gGWf+zPnZB
Lvy5Ob7xl2wlyLyeelrTIPnJmgDI4Hl7HfkD6417cwJpJPU1RjyfHvwJ
-----END PRIVATE KEY-----
";
/// On another curve.
const P384: &str = "\
-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEuP5Dfrv0aPKAAlx0MKHi7dOqWPZxecNN
5VEVSUr/svJn3E3pixqexh2WxP/kAEZxFWKc6WlKYVf/UoXCzG94+HIlFQ8YFujb
+1ueYwAgy8BHO2gJHOF5f3bl3QE+WtWG
-----END PUBLIC KEY-----
";

/// The second part of the tokens below. All parts were made by PyJWT 2.15.1, an independent implementation.
const PAYLOAD: &str = "\
    eyJzdWIiOiI0MiIsImlhdCI6MTcwMDAwMDAwMCwibmJmIjoxNzAwMDAwMDAwLCJleHAiOjE3MDAwMDM2MDAsImp0aSI6IngiLCJhdWQiOlsiZmFudGFpbCIs\
    Im90aGVyIl0sImlzcyI6ImJhY2tlbmQiLCJpbmZvIjp7Im5hbWUiOiJBbm4ifSwiY2hhbm5lbHMiOlsibmV3cyIsInRpY2tlcjpBQVBMIl0sIm1ldGEiOnsi\
    YSI6MX0sImN1c3RvbSI6WzFdfQ\
    ";
const HS256: (&str, &str) = ("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "aTLlekNXd5dGnufS6p-B_bhZZ0NBlDfA7x8NuMiLyZc");
const RS256: (&str, &str) = (
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9",
    "\
    BMmmbeDxayMEsEPsn4mriNSdPCfozWE2UlHqS80dFjmgVAd2UEKJ66nw7iD_AlgJYpxjOO1fVoxACP-3Gii4zVEDLHlMreTaq0kO-\
    z1IplRRDmEYfLJyjGJbhrLUYmsYBt2-\
    eoxtxEqgPqRyaXQvfWelfDRuG_EJhNlOVd4QkPT2dTCZ6fhTHCLkr8MpqMjY2nuFdVfWJgPXHaQgpwIvCjzzHNzUZVtAvA8gUcCjFH2nZlg_ZBc6MDuprawb\
    URIXi9LpqCnf24uQN8cAwQ0KKMjZDszTF9PoGnDESwL3PK5hD0iMC5Zcii9ksVdmemaIJkvq4Nz08Koi61miAivDDg\
    ",
);
const ES256: (&str, &str) =
    ("eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9", "5t-Fz7sy9bfH8aKkdmhjeMyqufKKN8C5NautyRvDov7wVV_-HIJViW36-PMChqYQtnv6OIYnURd1QVKectx-fA");
const HS384: (&str, &str) = ("eyJhbGciOiJIUzM4NCIsInR5cCI6IkpXVCJ9", "JyZMPNLrzH9hb9CUn80-pUQundAz5Q4LSgsbSq-pi12aZ3rLGE_QHQQAdljo8pr2");
const NONE: (&str, &str) = ("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0", "");
/// HS256 with the text of the RSA public key as the secret.
const CONFUSED: (&str, &str) = ("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "5LsUfLg-xE5653Po7mLU2JJ7cX2qUWwsB4Gg-fmUFO8");

/// Within the time of [`PAYLOAD`].
const NOW: u64 = 1_700_000_100;

fn auth() -> Auth {
    let some = |text: &str| Some(text.to_owned());
    Auth {
        hmac_secret: some(SECRET),
        rsa_public_key: some(RSA_PUBLIC),
        ecdsa_public_key: some(ECDSA_PUBLIC),
        audience: None,
        issuer: None,
        anonymous: false,
    }
}

fn verifier() -> Verifier {
    Verifier::new(&auth()).unwrap()
}

fn token((header, signature): (&str, &str)) -> String {
    format!("{header}.{PAYLOAD}.{signature}")
}

fn signed(claims: &Value) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

fn connection(claims: &Value) -> Result<ConnectionClaims, TokenError> {
    verifier().connection(&signed(claims), NOW)
}

fn subscription(claims: &Value) -> Result<SubscriptionClaims, TokenError> {
    verifier().subscription(&signed(claims), "news", "42", NOW)
}

fn is_invalid<T: fmt::Debug>(result: Result<T, TokenError>, reason: &str) {
    match result.unwrap_err() {
        TokenError::Invalid(actual) => assert!(actual.contains(reason), "{actual:?} is not {reason:?}"),
        TokenError::Expired => panic!("expired, not {reason:?}"),
    }
}

#[test]
fn each_algorithm_reads_the_tokens_of_another_implementation() {
    for parts in [HS256, RS256, ES256] {
        let claims = verifier().connection(&token(parts), NOW).unwrap();
        let expected = ConnectionClaims {
            user: "42".to_owned(),
            expires: Some(1_700_003_600),
            info: Some(r#"{"name":"Ann"}"#.into()),
            channels: vec!["news".to_owned(), "ticker:AAPL".to_owned()],
            subs: BTreeMap::new(),
        };
        assert_eq!(claims, expected);
    }
}

#[test]
fn each_algorithm_refuses_what_was_changed() {
    for (header, signature) in [HS256, RS256, ES256] {
        let token = token((header, signature));
        // Every character of the claims and of the signature, whose last may have bits that do not count.
        for at in header.len() + 1..token.len() - 1 {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            // A change may make it one that has ended.
            assert!(verifier().connection(&changed, NOW).is_err(), "{changed}");
        }
    }
    let other = Auth { hmac_secret: Some("another secret".to_owned()), ..auth() };
    is_invalid(Verifier::new(&other).unwrap().connection(&token(HS256), NOW), "signature");
}

#[test]
fn an_algorithm_serves_only_with_its_own_key() {
    is_invalid(verifier().connection(&token(NONE), NOW), "no header of HS256");
    is_invalid(verifier().connection(&token((NONE.0, HS256.1)), NOW), "no header of HS256");
    is_invalid(verifier().connection(&token(HS384), NOW), "no key for HS384");
    is_invalid(verifier().connection(&token(CONFUSED), NOW), "signature");
    for (header, signature) in [(HS256.0, RS256.1), (RS256.0, HS256.1), (ES256.0, RS256.1)] {
        is_invalid(verifier().connection(&token((header, signature)), NOW), "signature");
    }
    let only_rsa = Auth { hmac_secret: None, ecdsa_public_key: None, ..auth() };
    let only_rsa = Verifier::new(&only_rsa).unwrap();
    only_rsa.connection(&token(RS256), NOW).unwrap();
    is_invalid(only_rsa.connection(&token(CONFUSED), NOW), "no key for HS256");
    is_invalid(only_rsa.connection(&token(ES256), NOW), "no key for ES256");
    let none = Verifier::new(&Auth { hmac_secret: None, rsa_public_key: None, ecdsa_public_key: None, ..auth() }).unwrap();
    is_invalid(none.connection(&token(HS256), NOW), "no key for HS256");
}

#[test]
fn what_is_no_token_is_malformed() {
    let whole = token(HS256);
    let (unsigned, _) = whole.rsplit_once('.').unwrap();
    for text in ["", ".", "..", "...", "a.b.c", unsigned, &format!("{unsigned}."), &format!("{whole}.a"), &format!("{whole}="), &whole[1..]]
    {
        assert!(matches!(verifier().connection(text, NOW), Err(TokenError::Invalid(_))), "{text:?}");
    }
    let mut critical = Header::new(Algorithm::HS256);
    critical.crit = Some(vec!["b64".to_owned()]);
    let critical = encode(&critical, &json!({}), &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    is_invalid(verifier().connection(&critical, NOW), "crit");
}

#[test]
fn a_token_has_a_bound() {
    let claims = |bytes: usize| json!({"sub": "a".repeat(bytes)});
    connection(&claims(TOKEN_BYTES_MAX / 2)).unwrap();
    is_invalid(connection(&claims(TOKEN_BYTES_MAX)), "longer than 16384 bytes");
    // Not even its header is looked at.
    is_invalid(verifier().connection(&"a".repeat(TOKEN_BYTES_MAX + 1), NOW), "longer than 16384 bytes");
    is_invalid(verifier().connection(&"a".repeat(TOKEN_BYTES_MAX), NOW), "no header");
}

#[test]
fn a_token_ends_on_the_second() {
    assert!(verifier().connection(&token(HS256), 1_700_003_599).is_ok());
    assert_eq!(verifier().connection(&token(HS256), 1_700_003_600), Err(TokenError::Expired));
    for exp in [json!(NOW), json!(0), json!(-1), json!(NOW as f64 + 0.5)] {
        assert_eq!(connection(&json!({"exp": exp})), Err(TokenError::Expired), "{exp}");
    }
    for (exp, expires) in [(json!(NOW + 1), NOW + 1), (json!(NOW as f64 + 1.5), NOW + 1), (json!(1e30), u64::MAX)] {
        assert_eq!(connection(&json!({"exp": exp})).unwrap().expires, Some(expires));
    }
    // Then nobody looks at the signature.
    assert_eq!(verifier().connection(&token((ES256.0, RS256.1)), 1_700_003_600), Err(TokenError::Expired));
}

#[test]
fn a_token_does_not_begin_before_its_time() {
    for claim in ["nbf", "iat"] {
        connection(&json!({claim: NOW + CLOCK_SKEW})).unwrap();
        is_invalid(connection(&json!({claim: NOW + CLOCK_SKEW + 1})), "not valid yet");
    }
    is_invalid(verifier().connection(&token(HS256), 0), "not valid yet");
}

#[test]
fn what_a_token_allows_may_end_at_another_time() {
    let expires = |claims: Value| connection(&claims).map(|claims| claims.expires);
    assert_eq!(expires(json!({})), Ok(None));
    assert_eq!(expires(json!({"exp": NOW + 1, "expire_at": NOW + 9})), Ok(Some(NOW + 9)));
    assert_eq!(expires(json!({"exp": NOW + 1, "expire_at": 0})), Ok(None));
    assert_eq!(expires(json!({"expire_at": NOW})), Err(TokenError::Expired));
    assert_eq!(expires(json!({"exp": NOW, "expire_at": NOW + 9})), Err(TokenError::Expired));
    assert_eq!(subscription(&json!({"sub": "42", "channel": "news", "expire_at": NOW + 9})).unwrap().expires, Some(NOW + 9));
    assert_eq!(subscription(&json!({"sub": "42", "channel": "news", "expire_at": NOW})), Err(TokenError::Expired));
}

#[test]
fn audience_and_issuer_must_match_where_they_are_configured() {
    let verifier = |audience: Option<&str>, issuer: Option<&str>| {
        let auth = Auth { audience: audience.map(str::to_owned), issuer: issuer.map(str::to_owned), ..auth() };
        Verifier::new(&auth).unwrap()
    };
    let judge = |audience, issuer, claims: Value| verifier(audience, issuer).connection(&signed(&claims), NOW);
    verifier(Some("other"), Some("backend")).connection(&token(ES256), NOW).unwrap();
    judge(Some("fantail"), None, json!({"aud": "fantail", "iss": "anybody"})).unwrap();
    judge(None, Some("backend"), json!({"aud": "anybody", "iss": "backend"})).unwrap();
    is_invalid(judge(Some("fantail"), None, json!({"aud": "Fantail"})), "`aud`");
    is_invalid(judge(Some("fantail"), None, json!({"aud": ["a", "b"]})), "`aud`");
    is_invalid(judge(Some("fantail"), None, json!({"aud": []})), "`aud`");
    is_invalid(judge(None, Some("backend"), json!({"iss": "back"})), "`iss`");
    for none in [json!({}), json!({"aud": null, "iss": null}), json!({"aud": 1, "iss": 1})] {
        is_invalid(judge(Some("fantail"), None, none.clone()), "no `aud`");
        is_invalid(judge(None, Some("backend"), none), "no `iss`");
    }
}

#[test]
fn who_is_not_named_is_anonymous() {
    for claims in [json!({}), json!({"sub": ""}), json!({"sub": null}), json!({"other": {"a": [1]}, "meta": 1, "jti": []})] {
        assert_eq!(connection(&claims), Ok(ConnectionClaims::default()));
    }
}

#[test]
fn claims_of_a_wrong_type_are_refused() {
    for claims in [
        json!({"sub": 42}),
        json!({"exp": "1800000000"}),
        json!({"nbf": true}),
        json!({"iat": []}),
        json!({"expire_at": "never"}),
        json!({"channels": "news"}),
        json!({"channels": [1]}),
        json!({"subs": ["news"]}),
        json!({"subs": {"news": 1}}),
        json!({"subs": {"news": {"override": {"presence": true}}}}),
        json!({"subs": {"news": {"b64data": "not base64"}}}),
        json!({"b64info": "bm90IEpTT04="}),
        json!([]),
        json!("text"),
    ] {
        is_invalid(connection(&claims), "its claims: ");
    }
}

#[test]
fn information_is_json_in_one_line() {
    let info = |claims: Value| connection(&claims).map(|claims| claims.info);
    assert_eq!(info(json!({"info": null})), Ok(None));
    assert_eq!(info(json!({"info": [1, "a\nb"]})), Ok(Some(r#"[1,"a\nb"]"#.into())));
    assert_eq!(info(json!({"b64info": "eyJhIjoKMX0=", "info": 2})), Ok(Some(r#"{"a": 1}"#.into())));
    assert_eq!(info(json!({"b64info": "", "info": 2})), Ok(Some("2".into())));
}

#[test]
fn subscriptions_come_with_what_is_special_in_them() {
    let subs = json!({
        "news": {
            "info": {"a": 1},
            "b64data": "eyJiIjoyfQ==",
            "override": {
                "presence": {"value": true}, "join_leave": {}, "force_recovery": {"value": true}, "force_positioning": null, "other": 1
            }
        },
        "chat": {"override": {"recover": {"value": false}, "position": {"value": true}}},
        "plain": {},
    });
    let news = SubscribeOptions {
        info: Some(r#"{"a":1}"#.into()),
        data: Some(r#"{"b":2}"#.into()),
        overrides: Overrides { presence: Some(true), join_leave: Some(false), recover: Some(true), position: None },
    };
    let overrides = Overrides { recover: Some(false), position: Some(true), ..Overrides::default() };
    let chat = SubscribeOptions { overrides, ..SubscribeOptions::default() };
    let expected = [("chat", chat), ("news", news.clone()), ("plain", SubscribeOptions::default())];
    let expected = expected.map(|(channel, options)| (channel.to_owned(), options)).into();
    assert_eq!(connection(&json!({"subs": subs.clone()})).unwrap().subs, expected);

    let mut claims = subs["news"].clone();
    (claims["channel"], claims["sub"]) = (json!("news"), json!("42"));
    assert_eq!(subscription(&claims), Ok(SubscriptionClaims { expires: None, options: news }));
}

#[test]
fn a_subscription_is_for_its_channel_and_its_user() {
    subscription(&json!({"sub": "42", "channel": "news"})).unwrap();
    is_invalid(subscription(&json!({"sub": "42", "channel": "new"})), "not for this channel");
    is_invalid(subscription(&json!({"sub": "42"})), "not for this channel");
    is_invalid(subscription(&json!({"sub": "43", "channel": "news"})), "not for this user");
    is_invalid(subscription(&json!({"channel": "news"})), "not for this user");
    let anonymous = signed(&json!({"channel": "news"}));
    verifier().subscription(&anonymous, "news", "", NOW).unwrap();
    is_invalid(verifier().connection(&anonymous, NOW), "for a subscription");
    is_invalid(verifier().subscription(&token(HS256), "news", "42", NOW), "not for this channel");
}

#[test]
fn a_bearer_may_what_its_token_is_for() {
    let level = |claims: Value, channel: &str| verifier().bearer(&signed(&claims), NOW).unwrap().level(channel);
    for channel in ["news", "chat"] {
        assert_eq!(level(json!({}), channel), Some(Access::Anyone));
        assert_eq!(level(json!({"sub": "42"}), channel), Some(Access::Users));
    }
    for claims in [json!({"channel": "news"}), json!({"channel": "news", "sub": "42"})] {
        assert_eq!(level(claims.clone(), "news"), Some(Access::Token));
        assert_eq!(level(claims, "chat"), None);
    }
    let bearer = verifier().bearer(&token(ES256), NOW).unwrap();
    assert_eq!((&*bearer.user, bearer.expires), ("42", Some(1_700_003_600)));
    assert_eq!(verifier().bearer(&token(ES256), 1_700_003_600), Err(TokenError::Expired));
    is_invalid(verifier().bearer(&token((ES256.0, RS256.1)), NOW), "signature");
}

#[test]
fn keys_that_cannot_serve_are_refused_by_their_setting() {
    let refused = |change: fn(&mut Auth, Option<String>), key: &str, setting: &str| {
        let mut auth = auth();
        change(&mut auth, Some(key.to_owned()));
        let error = Verifier::new(&auth).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{setting}` ")), "{error}");
        assert!(key.is_empty() || !error.contains(key), "{error}");
    };
    refused(|auth, key| auth.hmac_secret = key, "", "auth.hmac_secret");
    let truncated = &RSA_PUBLIC[..200];
    for key in ["", "secret", truncated, RSA_PRIVATE, RSA_1024, ECDSA_PUBLIC] {
        refused(|auth, key| auth.rsa_public_key = key, key, "auth.rsa_public_key");
    }
    for key in ["", "secret", ECDSA_PRIVATE, P384, RSA_PUBLIC] {
        refused(|auth, key| auth.ecdsa_public_key = key, key, "auth.ecdsa_public_key");
    }
}

#[test]
fn what_is_minted_is_believed() {
    let auth = Auth { audience: Some("fantail".to_owned()), issuer: Some("backend".to_owned()), ..auth() };
    let verifier = Verifier::new(&auth).unwrap();
    for (private_key, algorithm) in
        [(None, Algorithm::HS256), (Some(RSA_PRIVATE), Algorithm::RS256), (Some(ECDSA_PRIVATE), Algorithm::ES256)]
    {
        let minter = Minter::new(&auth, private_key).unwrap();
        let content = Content { user: "42".to_owned(), iat: NOW, exp: Some(NOW + 1), ..Content::default() };
        let info = Some(serde_json::from_str("[1]").unwrap());
        let token = minter.mint(&Content { channels: vec!["news".to_owned()], info, ..content.clone() }).unwrap();
        assert_eq!(decode_header(&token).unwrap().alg, algorithm);
        let claims = verifier.connection(&token, NOW).unwrap();
        assert_eq!((claims.user.as_str(), claims.expires, claims.info.as_deref()), ("42", Some(NOW + 1), Some("[1]")));
        assert_eq!(claims.channels, ["news"]);
        let inspected = json!({
            "sub": "42", "channels": ["news"], "info": [1], "iat": NOW, "exp": NOW + 1, "aud": "fantail", "iss": "backend"
        });
        assert_eq!(verifier.inspect(&token, NOW), Ok(inspected));
        assert_eq!(verifier.inspect(&token, NOW + 1), Err(TokenError::Expired));

        let token = minter.mint(&Content { channel: Some("news".to_owned()), ..content }).unwrap();
        assert_eq!(verifier.subscription(&token, "news", "42", NOW).unwrap().expires, Some(NOW + 1));
        assert!(verifier.inspect(&token, NOW).is_ok());
    }
    assert!(Minter::new(&Auth { hmac_secret: None, ..auth.clone() }, None).is_err());
    for key in ["", "secret", P384] {
        let minted = Minter::new(&auth, Some(key)).and_then(|minter| minter.mint(&Content::default()));
        assert!(minted.unwrap_err().to_string().contains("private key"), "{key}");
    }
}
