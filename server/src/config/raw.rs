//! Settings as they were written, each with the place it was written at, before any is judged.
//!
//! Owns the layering (defaults, file, environment, flags), the list of known keys and the hint for
//! an unknown one. The known keys, their kinds and their defaults are `default-config.toml` itself:
//! there is no second list. Imports only its parent.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

use fantail_codec::simd;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, DEFAULT_CONFIG};

/// The table of namespaces, the one place where keys are the operator's own.
const NAMESPACES: &str = "hub.namespaces.";
/// The key of `[hub]` that is no option of a channel, so that a namespace cannot set it.
const CHANNELS_MAX: &str = "channels_max";
/// The place of a setting that nobody wrote.
pub(super) const BY_DEFAULT: &str = "by default";

/// The merged settings by full key, such as `limits.head_bytes_max`.
///
/// Start with [`Raw::defaults`], then lay over it [`Raw::add_file`], [`Raw::add_environment`] and
/// [`Raw::set_text`], in rising order of precedence. Every known key is present at all times; the
/// keys of namespaces only if they were written.
pub(super) struct Raw {
    settings: BTreeMap<String, Setting>,
}

/// One value and where it comes from.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) value: Value,
    /// A phrase that fits behind a key: `at fantail.toml:4`, `from FANTAIL_WORKERS`.
    pub(super) place: String,
}

impl Setting {
    /// Whether somebody wrote it, as opposed to a default.
    pub(super) fn is_written(&self) -> bool {
        self.place != BY_DEFAULT
    }
}

/// The kinds of value that settings have; a key's kind is that of its default.
#[derive(Clone)]
pub(super) enum Value {
    Integer(i64),
    Boolean(bool),
    Text(String),
    Texts(Vec<String>),
    Integers(Vec<i64>),
}

impl Raw {
    /// Every known key with its default.
    pub(super) fn defaults() -> Self {
        Self { settings: built_in(DEFAULT_CONFIG) }
    }

    /// Lays a file's text over the settings; `name` is what errors call the file.
    pub(super) fn add_file(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let line = |at: usize| 1 + text[..at].matches('\n').count();
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(text.len(), |span| span.start);
            let message = error.message().escape_debug();
            ConfigError(format!("not TOML at {name}:{}: {message}", line(at)))
        })?;
        self.add_table("", table.get_ref(), &|at| format!("at {name}:{}", line(at)))
    }

    /// Lays the `FANTAIL_` variables among `variables` over the settings.
    pub(super) fn add_environment(&mut self, variables: impl Iterator<Item = (String, String)>) -> Result<(), ConfigError> {
        // The codec's own variable is no setting.
        for (name, text) in variables.filter(|(name, _)| name.starts_with("FANTAIL_") && name != simd::VARIABLE) {
            let place = format!("from {}", name.escape_debug());
            let Some(key) = self.key_of_variable(&name) else {
                let known = nearest(&name, self.variables_for(&name).into_iter());
                let name = name.escape_debug();
                return Err(ConfigError(format!("unknown variable {name}: did you mean {known}?")));
            };
            self.set_text(&key, &text, place)?;
        }
        Ok(())
    }

    /// Sets one key from text outside of a file. A string stands bare, a list may be its items between commas, all else is TOML.
    pub(super) fn set_text(&mut self, key: &str, text: &str, place: String) -> Result<(), ConfigError> {
        let bare = || DeValue::String(text.into());
        let bracketed = format!("[{text}]");
        let value = match (self.default_of(key), DeValue::parse(text).map(Spanned::into_inner)) {
            (Some(Value::Text(_)), _) => bare(),
            (Some(Value::Texts(_) | Value::Integers(_)), Ok(list @ DeValue::Array(_))) => list,
            (Some(Value::Integers(_)), _) => DeValue::parse(&bracketed).map_or_else(|_| bare(), Spanned::into_inner),
            (Some(Value::Texts(_)), _) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                DeValue::Array(items.map(|item| Spanned::new(0..0, DeValue::String(item.into()))).collect())
            }
            (_, value) => value.unwrap_or_else(|_| bare()),
        };
        self.set(key.to_owned(), &value, place)
    }

    /// Replaces one setting by a value of its kind.
    pub(super) fn insert(&mut self, key: String, setting: Setting) {
        self.settings.insert(key, setting);
    }

    /// The setting at a known key.
    pub(super) fn get(&self, key: &str) -> &Setting {
        &self.settings[key]
    }

    /// The setting at a key, if somebody wrote it.
    pub(super) fn written(&self, key: &str) -> Option<&Setting> {
        self.settings.get(key).filter(|setting| setting.is_written())
    }

    /// The full key that decides `key` for the channels of a namespace: its own or, if there is none, the one of `[hub]`.
    pub(super) fn key_in_namespace(&self, namespace: &str, key: &str) -> String {
        let own = format!("{NAMESPACES}{namespace}.{key}");
        if self.settings.contains_key(&own) { own } else { format!("hub.{key}") }
    }

    /// The keys of `[hub]` that a namespace may set for its own channels.
    pub(super) fn channel_keys(&self) -> impl Iterator<Item = &str> {
        let keys = self.settings.keys().filter_map(|key| key.strip_prefix("hub."));
        keys.filter(|key| *key != CHANNELS_MAX && !key.contains('.'))
    }

    /// The namespaces that have settings of their own.
    pub(super) fn namespaces(&self) -> BTreeSet<&str> {
        let keys = self.settings.keys();
        keys.filter_map(|key| Some(split_namespace(key)?.0)).collect()
    }

    fn add_table(&mut self, prefix: &str, table: &DeTable<'_>, place: &impl Fn(usize) -> String) -> Result<(), ConfigError> {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) if self.is_section(&key) => {
                    self.add_table(&format!("{key}."), inner, place)?;
                }
                value => self.set(key, value, place(name.span().start))?,
            }
        }
        Ok(())
    }

    fn set(&mut self, key: String, value: &DeValue<'_>, place: String) -> Result<(), ConfigError> {
        if self.is_section(&key) {
            return Err(ConfigError::expected(&key, &place, describe(value), "a section"));
        }
        if let Some((namespace, _)) = split_namespace(&key)
            && !is_namespace(namespace)
        {
            let found = format_args!("in a namespace named {namespace:?}");
            return Err(ConfigError::expected(&key, &place, found, "a name of letters, digits, `_` and `-`"));
        }
        let Some(default) = self.default_of(&key) else {
            let known = nearest(&key, self.names_for(&key).into_iter());
            let key = key.escape_debug();
            return Err(ConfigError(format!("unknown key `{key}` {place}: did you mean `{known}`?")));
        };
        match Value::new(value).and_then(|value| value.of_kind(default)) {
            Some(value) => {
                self.settings.insert(key, Setting { value, place });
                Ok(())
            }
            None => Err(ConfigError::expected(&key, &place, describe(value), default.kind())),
        }
    }

    /// What decides the kind of `key`; `None` if it is not a known key.
    fn default_of(&self, key: &str) -> Option<&Value> {
        let setting = match split_namespace(key) {
            Some((_, key)) if self.channel_keys().any(|known| known == key) => self.settings.get(&format!("hub.{key}")),
            Some(_) => None,
            None => self.settings.get(key),
        };
        setting.map(|setting| &setting.value)
    }

    /// Whether `key` is a table that holds keys: `limits`, `hub.namespaces`, `hub.namespaces.ticker`.
    fn is_section(&self, key: &str) -> bool {
        let prefix = format!("{key}.");
        match prefix.strip_prefix(NAMESPACES) {
            Some(rest) => rest.matches('.').count() <= 1,
            None => self.settings.keys().any(|known| known.starts_with(&prefix)),
        }
    }

    /// What an unknown `key` may have been meant to be: a known key, a section or, inside a namespace, what that may hold.
    fn names_for(&self, key: &str) -> BTreeSet<String> {
        if let Some((namespace, _)) = split_namespace(key) {
            return self.channel_keys().map(|key| format!("{NAMESPACES}{namespace}.{key}")).collect();
        }
        let keys = self.settings.keys().filter(|key| split_namespace(key).is_none());
        keys.flat_map(|key| [key.clone(), key.split('.').next().unwrap_or(key).to_owned()]).collect()
    }

    /// What an unknown variable may have been meant to be. Where a namespace's name ends in it, only the key behind it can tell.
    fn variables_for(&self, name: &str) -> Vec<String> {
        let mut variables: Vec<_> = self.settings.keys().map(|key| variable_of_key(key)).collect();
        let prefix = variable_of_key(NAMESPACES);
        let rest = name.strip_prefix(&prefix).unwrap_or_default();
        for (end, _) in rest.match_indices('_') {
            variables.extend(self.channel_keys().map(|key| format!("{prefix}{}_{}", &rest[..end], key.to_uppercase())));
        }
        variables
    }

    fn key_of_variable(&self, name: &str) -> Option<String> {
        let known = |key: &&String| variable_of_key(key) == name;
        if let Some(key) = self.settings.keys().find(known) {
            return Some(key.clone());
        }
        let rest = name.strip_prefix(&variable_of_key(NAMESPACES))?;
        self.channel_keys().find_map(|key| {
            let namespace = rest.strip_suffix(&format!("_{}", key.to_uppercase()))?;
            Some(format!("{NAMESPACES}{}.{key}", namespace.to_lowercase()))
        })
    }
}

impl Value {
    /// The value, if it is of a kind that settings have.
    fn new(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::Integer(_) => integer(value).map(Self::Integer),
            DeValue::Boolean(boolean) => Some(Self::Boolean(*boolean)),
            DeValue::String(text) => Some(Self::Text(text.to_string())),
            DeValue::Array(items) => {
                let text = |item: &Spanned<DeValue<'_>>| item.get_ref().as_str().map(ToOwned::to_owned);
                let texts = items.iter().map(text).collect::<Option<_>>().map(Self::Texts);
                texts.or_else(|| items.iter().map(|item| integer(item.get_ref())).collect::<Option<_>>().map(Self::Integers))
            }
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
        }
    }

    /// The value, if it is of the kind of `default`. A list without items is of either kind of list.
    pub(super) fn of_kind(self, default: &Self) -> Option<Self> {
        match (self, default) {
            (Self::Texts(items), Self::Integers(_)) if items.is_empty() => Some(Self::Integers(Vec::new())),
            (value, default) => (discriminant(&value) == discriminant(default)).then_some(value),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "true or false",
            Self::Text(_) => "a string",
            Self::Texts(_) => "a list of strings",
            Self::Integers(_) => "a list of integers",
        }
    }
}

/// The variable that sets `key`: `limits.head_bytes_max` is set by `FANTAIL_LIMITS_HEAD_BYTES_MAX`.
pub(super) fn variable_of_key(key: &str) -> String {
    format!("FANTAIL_{}", key.to_uppercase().replace('.', "_"))
}

/// The settings in a text that is part of the program, by full key.
pub(super) fn built_in(text: &str) -> BTreeMap<String, Setting> {
    let table = DeTable::parse(text).expect("the built-in file is TOML");
    let mut settings = BTreeMap::new();
    collect_defaults("", table.get_ref(), &mut settings);
    settings
}

fn collect_defaults(prefix: &str, table: &DeTable<'_>, settings: &mut BTreeMap<String, Setting>) {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            collect_defaults(&format!("{key}."), inner, settings);
        } else {
            let value = Value::new(value.get_ref()).expect("a default is of a setting's kind");
            let place = BY_DEFAULT.to_owned();
            settings.insert(key, Setting { value, place });
        }
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// The namespace and the key in it, if `key` lies in a namespace.
fn split_namespace(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix(NAMESPACES)?.rsplit_once('.')
}

fn is_namespace(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// What an error says was found. A string is quoted, for it stands where another kind belongs and
/// so is no secret.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(_) if Value::new(value).is_none() => "beyond 64 bits".to_owned(),
        DeValue::Integer(_) => "an integer".to_owned(),
        DeValue::Float(_) => "a float".to_owned(),
        DeValue::Boolean(_) => "a boolean".to_owned(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a section".to_owned(),
    }
}

fn nearest(name: &str, known: impl Iterator<Item = String>) -> String {
    known.min_by_key(|known| strsim::damerau_levenshtein(name, known)).expect("there are known keys")
}
