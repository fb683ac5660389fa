//! Plain data as JSON text.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::protocol::value::{Misfit, Value};

/// One line of JSON, fields in their order.
pub fn text(value: &Value) -> String {
    // Names, numbers and texts: there is nothing in it that JSON cannot say.
    serde_json::to_string(&Json(value)).unwrap_or_default()
}

/// # Errors
/// It is no JSON, or has what no record has (fractions, numbers below zero).
pub fn parse(text: &[u8]) -> Result<Value, Misfit> {
    let found = serde_json::from_slice(text).map_err(|error| Misfit(error.to_string()))?;
    plain(found)
}

fn plain(found: serde_json::Value) -> Result<Value, Misfit> {
    use serde_json::Value as Found;
    Ok(match found {
        Found::Null => Value::Null,
        Found::Bool(is) => Value::Bool(is),
        Found::Number(number) => Value::Number(
            number.as_u64().ok_or_else(|| Misfit(format!("{number} is no whole number")))?,
        ),
        Found::String(text) => Value::Text(text.into()),
        Found::Array(list) => Value::List(list.into_iter().map(plain).collect::<Result<_, _>>()?),
        Found::Object(fields) => Value::Fields(
            fields
                .into_iter()
                .map(|(name, value)| Ok((name.into(), plain(value)?)))
                .collect::<Result<_, _>>()?,
        ),
    })
}

struct Json<'a>(&'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => to.serialize_unit(),
            Value::Bool(is) => to.serialize_bool(*is),
            Value::Number(number) => to.serialize_u64(*number),
            Value::Text(text) => to.serialize_str(text),
            Value::List(list) => to.collect_seq(list.iter().map(Json)),
            Value::Fields(fields) => {
                let mut map = to.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name.as_ref(), &Json(value))?;
                }
                map.end()
            }
        }
    }
}
