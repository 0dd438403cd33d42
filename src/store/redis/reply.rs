//! What the engine answers, as values of ours.

use redis::Value;

use crate::store::StoreError;

/// An answer that is not what was asked for.
pub(super) fn odd(what: &'static str) -> StoreError {
    StoreError::Engine(format!("it answered something else than {what}"))
}

pub(super) fn array(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(values) | Value::Set(values) => Ok(values),
        Value::Map(pairs) => Ok(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()),
        Value::Nil => Ok(Vec::new()),
        Value::ServerError(error) => {
            Err(StoreError::Engine(format!("{} {}", error.code(), error.details().unwrap_or_default())))
        }
        _ => Err(odd("a list")),
    }
}

/// `None` for nothing.
pub(super) fn bytes(value: Value) -> Result<Option<Vec<u8>>, StoreError> {
    match value {
        Value::Nil | Value::Boolean(false) => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        Value::Int(number) => Ok(Some(number.to_string().into_bytes())),
        Value::Okay => Ok(Some(b"OK".to_vec())),
        Value::ServerError(error) => {
            Err(StoreError::Engine(format!("{} {}", error.code(), error.details().unwrap_or_default())))
        }
        _ => Err(odd("a text")),
    }
}

pub(super) fn text(value: Value) -> Result<Option<String>, StoreError> {
    bytes(value)?.map(|bytes| String::from_utf8(bytes).map_err(|_| odd("a text"))).transpose()
}

/// `None` for nothing.
pub(super) fn number(value: Value) -> Result<Option<u64>, StoreError> {
    match value {
        Value::Int(number) => Ok(u64::try_from(number).ok()),
        other => text(other)?.map(|text| text.parse().map_err(|_| odd("a number"))).transpose(),
    }
}

/// Numbers, one after the other.
pub(super) fn numbers(value: Value) -> Result<Vec<u64>, StoreError> {
    array(value)?.into_iter().map(|value| number(value)?.ok_or_else(|| odd("a number"))).collect()
}

pub(super) fn texts(value: Value) -> Result<Vec<String>, StoreError> {
    array(value)?.into_iter().map(|value| text(value)?.ok_or_else(|| odd("a text"))).collect()
}

/// Field and value, one after the other.
pub(super) fn pairs(value: Value) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let mut pairs = Vec::new();
    let mut values = array(value)?.into_iter();
    while let (Some(field), Some(value)) = (values.next(), values.next()) {
        pairs.push((text(field)?.ok_or_else(|| odd("a field"))?, bytes(value)?.unwrap_or_default()));
    }
    Ok(pairs)
}

/// Field and value, in order.
pub(super) type Fields = Vec<(String, Vec<u8>)>;

/// Records of a stream: the number in front of the dash, and fields.
pub(super) fn records(value: Value) -> Result<Vec<(u64, Fields)>, StoreError> {
    let record = |value| {
        let [id, fields] = <[Value; 2]>::try_from(array(value)?).map_err(|_| odd("a record"))?;
        let id = text(id)?.unwrap_or_default();
        let number = id.split('-').next().and_then(|number| number.parse().ok()).ok_or_else(|| odd("a record"))?;
        Ok((number, pairs(fields)?))
    };
    array(value)?.into_iter().map(record).collect()
}
