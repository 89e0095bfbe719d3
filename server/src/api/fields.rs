//! Reads the fields of a request one by one, so that an error names its field. Imports `error`.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::error::Error;
use crate::hub::{CHANNEL_BYTES_MAX, HubError};

/// A field, whatever its value.
#[derive(Clone, Copy, Default)]
pub struct Field<'a>(Option<&'a RawValue>);

/// A string that borrows where the JSON has no escapes.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    /// Takes `null` as a value, which it is for data.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Field<'a>, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|value| Field(Some(value)))
    }
}

impl<'a> Field<'a> {
    /// The JSON.
    pub fn json(self) -> Option<&'a str> {
        self.0.map(RawValue::get)
    }

    /// The value, if there is one that is not `null`; else an error says what is `expected`.
    pub fn get<T: Deserialize<'a>>(self, name: &str, expected: &str) -> Result<Option<T>, Error> {
        let read = |json| serde_json::from_str(json).map_err(|_| Error::bad_request(format!("{name}: expected {expected}")));
        self.json().map_or(Ok(None), read)
    }

    /// A string.
    pub fn text(self, name: &str) -> Result<Option<Cow<'a, str>>, Error> {
        Ok(self.get::<Text<'a>>(name, "a string")?.map(|text| text.0))
    }

    /// A string that must be there.
    pub fn required_text(self, name: &str) -> Result<Cow<'a, str>, Error> {
        self.text(name)?.ok_or_else(|| Error::bad_request(format!("{name}: expected a string")))
    }

    /// The name of a channel.
    pub fn channel(self) -> Result<Cow<'a, str>, Error> {
        let name = self.required_text("channel")?;
        let fits = (1..=CHANNEL_BYTES_MAX).contains(&name.len());
        fits.then_some(name).ok_or_else(|| HubError::Name.into())
    }

    /// `false` unless it says otherwise.
    pub fn flag(self, name: &str) -> Result<bool, Error> {
        Ok(self.get(name, "true or false")?.unwrap_or(false))
    }

    /// A field of Centrifugo's that nothing here corresponds to: refused where it has a value, rather than overlooked.
    pub fn refuse(self, name: &str) -> Result<(), Error> {
        match self.json() {
            None | Some("null" | "\"\"" | "[]" | "false" | "0") => Ok(()),
            Some(_) => Err(Error::bad_request(format!("{name}: expected none, as this server does not support it"))),
        }
    }
}

/// The fields of a request.
pub fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body)
        .map_err(|error| Error::bad_request(format!("body: {error}; expected a JSON object with this method's fields")))
}
