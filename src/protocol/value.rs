//! Plain data: what an event, an action or a whole node is outside this program, and back again, so
//! that a recording replays the core to the letter.
//!
//! Every type says its own fields, destructured, so that a new one cannot be forgotten: it does not
//! compile. Data of an earlier version lacks what it had not yet: such a field is false, zero, none
//! or empty. What this version does not know is refused.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::time::{Duration, Instant};

/// A value, as JSON has them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Value {
    /// Nothing is known or there.
    #[default]
    Null,
    /// Yes or no.
    Bool(bool),
    /// A count, or a time in nanoseconds.
    Number(u64),
    /// A name.
    Text(Cow<'static, str>),
    /// One after the other.
    List(Vec<Value>),
    /// By name, in order.
    Fields(Vec<(Cow<'static, str>, Value)>),
}

/// The data is not what it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misfit(pub String);

/// Can be told as data and made of it.
pub trait Data: Sized {
    /// As data.
    fn to_value(&self) -> Value;

    /// From data.
    ///
    /// # Errors
    /// It is not such a value.
    fn from_value(value: &Value) -> Result<Self, Misfit>;

    /// What it is in data of a version that did not have it.
    fn absent() -> Option<Self> {
        None
    }
}

impl Value {
    /// The name of a variant and what it carries.
    pub(super) fn variant(&self) -> Result<(&str, &Value), Misfit> {
        match self {
            Value::Text(name) => Ok((name, &Value::Null)),
            Value::Fields(fields) if fields.len() == 1 => Ok((&fields[0].0, &fields[0].1)),
            _ => Err(self.instead_of("a name")),
        }
    }

    /// One field, if it is there.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let Value::Fields(fields) = self else { return None };
        fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        let Value::Fields(fields) = self else { return None };
        fields.iter_mut().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(super) fn instead_of(&self, wanted: &str) -> Misfit {
        Misfit(format!("{wanted} is wanted, not {self:?}"))
    }
}

/// The fields of a value, for the type that knows their names.
///
/// # Errors
/// These are no fields, or one has a name that is not known.
pub(super) fn known<'a>(value: &'a Value, names: &[&str]) -> Result<&'a Value, Misfit> {
    let Value::Fields(fields) = value else { return Err(value.instead_of("a set of fields")) };
    match fields.iter().find(|(name, _)| !names.contains(&name.as_ref())) {
        Some((name, _)) => Err(Misfit(format!("{name} is not known to this version"))),
        None => Ok(value),
    }
}

/// One field of a value.
pub(super) fn field<T: Data>(value: &Value, name: &str) -> Result<T, Misfit> {
    match value.get(name) {
        Some(found) => T::from_value(found).map_err(|Misfit(why)| Misfit(format!("{name}: {why}"))),
        None => T::absent().ok_or_else(|| Misfit(format!("{name} is missing"))),
    }
}

/// A struct is its fields: `fields!(Echo { session, sequence, age });`
macro_rules! fields {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl $crate::protocol::value::Data for $type {
            fn to_value(&self) -> $crate::protocol::value::Value {
                let $type { $($field),* } = self;
                $crate::protocol::value::Value::Fields(alloc::vec![
                    $((stringify!($field).into(), $field.to_value())),*
                ])
            }

            fn from_value(
                value: &$crate::protocol::value::Value,
            ) -> Result<Self, $crate::protocol::value::Misfit> {
                let value = $crate::protocol::value::known(value, &[$(stringify!($field)),*])?;
                Ok($type {
                    $($field: $crate::protocol::value::field(value, stringify!($field))?),*
                })
            }
        }
    };
}
pub(super) use fields;

/// An enum is the name of its variant, with what that carries:
/// `variants!(Promise { None, For(span), Leaving });`
macro_rules! variants {
    ($type:ident { $($variant:ident $(($inner:ident))? $({ $($field:ident),* })?),* $(,)? }) => {
        impl Data for $type {
            fn to_value(&self) -> Value {
                match self {
                    $($type::$variant $(($inner))? $({ $($field),* })? => {
                        told!($variant $(($inner))? $({ $($field),* })?)
                    })*
                }
            }

            fn from_value(value: &Value) -> Result<Self, Misfit> {
                let (name, _carried) = value.variant()?;
                match name {
                    $(stringify!($variant) => {
                        made!($type, $variant, _carried $(, ($inner))? $(, { $($field),* })?)
                    })*
                    other => Err(Misfit(format!("{other} is not known to this version"))),
                }
            }
        }
    };
}
pub(super) use variants;

macro_rules! told {
    ($variant:ident) => { Value::Text(stringify!($variant).into()) };
    ($variant:ident ($inner:ident)) => {
        Value::Fields(vec![(stringify!($variant).into(), $inner.to_value())])
    };
    ($variant:ident { $($field:ident),* }) => {
        Value::Fields(vec![(
            stringify!($variant).into(),
            Value::Fields(vec![$((stringify!($field).into(), $field.to_value())),*]),
        )])
    };
}
pub(super) use told;

macro_rules! made {
    ($type:ident, $variant:ident, $carried:ident) => { Ok($type::$variant) };
    ($type:ident, $variant:ident, $carried:ident, ($inner:ident)) => {
        Data::from_value($carried).map($type::$variant)
    };
    ($type:ident, $variant:ident, $carried:ident, { $($field:ident),* }) => {{
        let fields = known($carried, &[$(stringify!($field)),*])?;
        Ok($type::$variant { $($field: field(fields, stringify!($field))?),* })
    }};
}
pub(super) use made;

impl Data for bool {
    fn to_value(&self) -> Value {
        Value::Bool(*self)
    }

    fn from_value(value: &Value) -> Result<Self, Misfit> {
        match value {
            Value::Bool(is) => Ok(*is),
            other => Err(other.instead_of("true or false")),
        }
    }

    fn absent() -> Option<Self> {
        Some(false)
    }
}

impl Data for u64 {
    fn to_value(&self) -> Value {
        Value::Number(*self)
    }

    fn from_value(value: &Value) -> Result<Self, Misfit> {
        match value {
            Value::Number(number) => Ok(*number),
            other => Err(other.instead_of("a number")),
        }
    }

    fn absent() -> Option<Self> {
        Some(0)
    }
}

/// A smaller number is a number that is not too large.
macro_rules! numbers {
    ($($type:ident)*) => {$(
        impl Data for $type {
            fn to_value(&self) -> Value {
                Value::Number(*self as u64)
            }

            fn from_value(value: &Value) -> Result<Self, Misfit> {
                let number = u64::from_value(value)?;
                $type::try_from(number).map_err(|_| value.instead_of("a smaller number"))
            }

            fn absent() -> Option<Self> {
                Some(0)
            }
        }
    )*};
}
numbers!(u8 u16 u32 usize);

impl Data for Instant {
    fn to_value(&self) -> Value {
        Value::Number(self.as_nanos())
    }

    fn from_value(value: &Value) -> Result<Self, Misfit> {
        u64::from_value(value).map(Instant::from_nanos)
    }

    fn absent() -> Option<Self> {
        Some(Instant::ZERO)
    }
}

impl Data for Duration {
    fn to_value(&self) -> Value {
        Value::Number(u64::try_from(self.as_nanos()).unwrap_or(u64::MAX))
    }

    fn from_value(value: &Value) -> Result<Self, Misfit> {
        u64::from_value(value).map(Duration::from_nanos)
    }

    fn absent() -> Option<Self> {
        Some(Duration::ZERO)
    }
}

impl<T: Data> Data for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_value)
    }

    fn from_value(value: &Value) -> Result<Self, Misfit> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Data> Data for Vec<T> {
    fn to_value(&self) -> Value {
        Value::List(self.iter().map(T::to_value).collect())
    }

    fn from_value(value: &Value) -> Result<Self, Misfit> {
        match value {
            Value::List(list) => list.iter().map(T::from_value).collect(),
            other => Err(other.instead_of("a list")),
        }
    }

    fn absent() -> Option<Self> {
        Some(Vec::new())
    }
}

impl<T: Data, const N: usize> Data for [T; N] {
    fn to_value(&self) -> Value {
        Value::List(self.iter().map(T::to_value).collect())
    }

    fn from_value(value: &Value) -> Result<Self, Misfit> {
        let list: Vec<T> = Vec::from_value(value)?;
        list.try_into().map_err(|_| Misfit(format!("a list of {N} is wanted")))
    }
}

impl<A: Data, B: Data> Data for (A, B) {
    fn to_value(&self) -> Value {
        Value::List([self.0.to_value(), self.1.to_value()].to_vec())
    }

    fn from_value(value: &Value) -> Result<Self, Misfit> {
        match value {
            Value::List(list) if list.len() == 2 => {
                Ok((A::from_value(&list[0])?, B::from_value(&list[1])?))
            }
            other => Err(other.instead_of("a pair")),
        }
    }
}

impl core::fmt::Display for Misfit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_string().into())
    }
}
