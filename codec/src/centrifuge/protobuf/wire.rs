//! Protobuf's wire format as proto3 uses it: fields of a number and a value, one after the other, and nothing else. Imports `message` for its
//! [`Malformed`].

use super::super::message::{Malformed, Place};

/// A varint of 64 bits.
const VARINT_BYTES_MAX: usize = 10;
/// Field numbers have 29 bits.
const NUMBER_MAX: u64 = (1 << 29) - 1;

/// The fields of one message, which may lie within another: places are bytes of the outermost one.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    outermost: &'a [u8],
    at: usize,
    end: usize,
}

/// One field. What it holds is asked for by type, an error where it is of another.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    pub number: u32,
    at: usize,
    value: Value<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Varint(u64),
    /// Of 4 or 8 bytes; no message of the protocol has such a field.
    Fixed,
    Delimited(Fields<'a>),
}

impl<'a> Fields<'a> {
    pub fn new(message: &'a [u8]) -> Self {
        Fields { outermost: message, at: 0, end: message.len() }
    }

    pub fn is_empty(&self) -> bool {
        self.at == self.end
    }

    /// A message behind its length.
    pub fn delimited(&mut self) -> Result<Fields<'a>, Malformed> {
        let at = self.at;
        let length = self.varint()?;
        let begin = self.at;
        self.skip(length, at, "a length within the message")?;
        Ok(Fields { outermost: self.outermost, at: begin, end: self.at })
    }

    fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let at = self.at;
        let tag = self.varint()?;
        let number = tag >> 3;
        if !(1..=NUMBER_MAX).contains(&number) {
            return Err(malformed(at, "a field number"));
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.skip(8, at, "eight bytes").map(|()| Value::Fixed)?,
            2 => Value::Delimited(self.delimited()?),
            5 => self.skip(4, at, "four bytes").map(|()| Value::Fixed)?,
            // 3 and 4 were groups, which proto3 does not have.
            _ => return Err(malformed(at, "a wire type of proto3")),
        };
        Ok(Field { number: number as u32, at, value })
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (index, &byte) in self.rest().iter().take(VARINT_BYTES_MAX).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                // Of the tenth byte only one bit is within the 64.
                if index + 1 == VARINT_BYTES_MAX && byte > 1 {
                    break;
                }
                self.at += index + 1;
                return Ok(value);
            }
        }
        Err(malformed(self.at, "a varint"))
    }

    fn skip(&mut self, bytes: u64, at: usize, expected: &'static str) -> Result<(), Malformed> {
        if bytes > (self.end - self.at) as u64 {
            return Err(malformed(at, expected));
        }
        self.at += bytes as usize;
        Ok(())
    }

    fn rest(&self) -> &'a [u8] {
        &self.outermost[self.at..self.end]
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.is_empty()).then(|| self.field())
    }
}

impl<'a> Field<'a> {
    /// Any of Protobuf's integers; of one of 32 bits a reader takes the lower half.
    pub fn integer(&self) -> Result<u64, Malformed> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(malformed(self.at, "a varint field")),
        }
    }

    pub fn flag(&self) -> Result<bool, Malformed> {
        Ok(self.integer()? != 0)
    }

    pub fn message(&self) -> Result<Fields<'a>, Malformed> {
        match self.value {
            Value::Delimited(fields) => Ok(fields),
            _ => Err(malformed(self.at, "a length-delimited field")),
        }
    }

    pub fn bytes(&self) -> Result<&'a [u8], Malformed> {
        Ok(self.message()?.rest())
    }

    pub fn string(&self) -> Result<&'a str, Malformed> {
        let text = self.message()?;
        std::str::from_utf8(text.rest()).map_err(|error| malformed(text.at + error.valid_up_to(), "UTF-8"))
    }
}

fn malformed(at: usize, expected: &'static str) -> Malformed {
    Malformed { at: Place::Byte(at), expected }
}

/// Writes fields, or only counts their bytes: a message stands behind its length, which is to be known first. Zeros and empty fields are left out,
/// as proto3 has them mean the same as none; a message is there even when it is empty.
pub struct Writer<'o> {
    /// None while counting.
    out: Option<&'o mut Vec<u8>>,
    counted: usize,
}

impl<'o> Writer<'o> {
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Writer { out: Some(out), counted: 0 }
    }

    pub fn integer(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.varint(u64::from(number) << 3);
            self.varint(value);
        }
    }

    pub fn flag(&mut self, number: u32, value: bool) {
        self.integer(number, value.into());
    }

    pub fn bytes(&mut self, number: u32, value: &[u8]) {
        if !value.is_empty() {
            self.varint(u64::from(number) << 3 | 2);
            self.varint(value.len() as u64);
            self.put(value);
        }
    }

    pub fn string(&mut self, number: u32, value: &str) {
        self.bytes(number, value.as_bytes());
    }

    pub fn message(&mut self, number: u32, body: impl Fn(&mut Writer<'_>)) {
        self.varint(u64::from(number) << 3 | 2);
        self.delimited(body);
    }

    /// A message behind its length.
    pub fn delimited(&mut self, body: impl Fn(&mut Writer<'_>)) {
        let mut counter = Writer { out: None, counted: 0 };
        body(&mut counter);
        self.varint(counter.counted as u64);
        match &mut self.out {
            None => self.counted += counter.counted,
            Some(out) => {
                out.reserve(counter.counted);
                body(self);
            }
        }
    }

    fn varint(&mut self, mut value: u64) {
        match &mut self.out {
            None => self.counted += 1 + (value | 1).ilog2() as usize / 7,
            Some(out) => {
                while value >= 0x80 {
                    out.push(value as u8 | 0x80);
                    value >>= 7;
                }
                out.push(value as u8);
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        match &mut self.out {
            None => self.counted += bytes.len(),
            Some(out) => out.extend_from_slice(bytes),
        }
    }
}
