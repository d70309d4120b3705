//! The side of the types that are read: all that is made for each of them.

use super::*;

/// The deserializer that types are read from.
pub(in crate::yaml) struct Erased<'a, 'de>(pub(in crate::yaml) &'a mut dyn AnyDeserializer<'de>);

/// A visitor or seed that is used once, and what came of it.
struct Once<O, V> {
    once: Option<O>,
    value: Option<V>,
}

impl<O, V> Once<O, V> {
    fn new(once: O) -> Once<O, V> {
        Once {
            once: Some(once),
            value: None,
        }
    }

    fn take(&mut self) -> Result<O, Raised> {
        self.once.take().ok_or_else(used_up)
    }

    fn value(self) -> Result<V, Raised> {
        self.value.ok_or_else(used_up)
    }
}

impl<'de, V: Visitor<'de>> Once<V, V::Value> {
    fn set(&mut self, result: Result<V::Value, Raised>) -> Result<(), Raised> {
        self.value = Some(result?);
        Ok(())
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.once {
            Some(visitor) => visitor.expecting(f),
            None => f.write_str("nothing more"),
        }
    }

    fn scalar(&mut self, scalar: Scalar<'de, '_>) -> Result<(), Raised> {
        let visitor = self.take()?;
        let result = match scalar {
            Scalar::Bool(value) => visitor.visit_bool(value),
            Scalar::I64(value) => visitor.visit_i64(value),
            Scalar::U64(value) => visitor.visit_u64(value),
            Scalar::F64(value) => visitor.visit_f64(value),
            Scalar::Str(value) => visitor.visit_str(value),
            Scalar::Borrowed(value) => visitor.visit_borrowed_str(value),
            Scalar::String(value) => visitor.visit_string(value),
            Scalar::Bytes(value) => visitor.visit_bytes(value),
            Scalar::None => visitor.visit_none(),
            Scalar::Unit => visitor.visit_unit(),
        };
        self.set(result)
    }

    fn some(&mut self, inner: &mut dyn AnyDeserializer<'de>) -> Result<(), Raised> {
        let result = self.take()?.visit_some(Erased(inner));
        self.set(result)
    }

    fn newtype(&mut self, inner: &mut dyn AnyDeserializer<'de>) -> Result<(), Raised> {
        let result = self.take()?.visit_newtype_struct(Erased(inner));
        self.set(result)
    }

    fn seq(&mut self, items: &mut dyn AnySeq<'de>) -> Result<(), Raised> {
        let result = self.take()?.visit_seq(Items(items));
        self.set(result)
    }

    fn map(&mut self, entries: &mut dyn AnyMap<'de>) -> Result<(), Raised> {
        let result = self.take()?.visit_map(Entries(entries));
        self.set(result)
    }

    fn variant(&mut self, variant: &mut dyn AnyEnum<'de>) -> Result<(), Raised> {
        let result = self.take()?.visit_enum(Choice(variant));
        self.set(result)
    }
}

macro_rules! visitors {
    ($($name:ident: $($method:ident($argument:ty)),+;)+) => {$(
        struct $name<V, T>(Once<V, T>);

        impl<'de, V: Visitor<'de>> AnyVisitor<'de> for $name<V, V::Value> {
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.expecting(f)
            }

            $(fn $method(&mut self, found: $argument) -> Result<(), Raised> {
                self.0.$method(found)
            })+
        }
    )+};
}

visitors! {
    Anything:
        scalar(Scalar<'de, '_>),
        some(&mut dyn AnyDeserializer<'de>),
        newtype(&mut dyn AnyDeserializer<'de>),
        seq(&mut dyn AnySeq<'de>),
        map(&mut dyn AnyMap<'de>),
        variant(&mut dyn AnyEnum<'de>);
    Scalars: scalar(Scalar<'de, '_>);
    Maybe: scalar(Scalar<'de, '_>), some(&mut dyn AnyDeserializer<'de>);
    Newtype: newtype(&mut dyn AnyDeserializer<'de>);
    Sequence: seq(&mut dyn AnySeq<'de>);
    Mapping: map(&mut dyn AnyMap<'de>);
    Choices: variant(&mut dyn AnyEnum<'de>);
}

struct Seed<S, V>(Once<S, V>);

impl<'de, S: DeserializeSeed<'de>> AnySeed<'de> for Seed<S, S::Value> {
    fn sow(&mut self, deserializer: &mut dyn AnyDeserializer<'de>) -> Result<(), Raised> {
        let seed = self.0.take()?;
        self.0.value = Some(seed.deserialize(Erased(deserializer))?);
        Ok(())
    }
}

macro_rules! hints {
    ($($method:ident($($name:ident: $type:ty),*) => $hint:expr, $visitor:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(
            self,
            $($name: $type,)*
            visitor: V,
        ) -> Result<V::Value, Raised> {
            let mut visitor = $visitor(Once::new(visitor));
            self.0.read($hint, &mut visitor)?;
            visitor.0.value()
        })*
    };
}

impl<'de> Deserializer<'de> for Erased<'_, 'de> {
    type Error = Raised;

    hints! {
        deserialize_any() => Hint::Any, Anything;
        deserialize_bool() => Hint::Bool, Scalars;
        deserialize_i8() => Hint::I8, Scalars;
        deserialize_i16() => Hint::I16, Scalars;
        deserialize_i32() => Hint::I32, Scalars;
        deserialize_i64() => Hint::I64, Scalars;
        deserialize_u8() => Hint::U8, Scalars;
        deserialize_u16() => Hint::U16, Scalars;
        deserialize_u32() => Hint::U32, Scalars;
        deserialize_u64() => Hint::U64, Scalars;
        deserialize_f32() => Hint::F32, Scalars;
        deserialize_f64() => Hint::F64, Scalars;
        deserialize_char() => Hint::Char, Scalars;
        deserialize_str() => Hint::Str, Scalars;
        deserialize_string() => Hint::String, Scalars;
        deserialize_bytes() => Hint::Bytes, Anything;
        deserialize_byte_buf() => Hint::ByteBuf, Anything;
        deserialize_option() => Hint::Option, Maybe;
        deserialize_unit() => Hint::Unit, Scalars;
        deserialize_seq() => Hint::Seq, Sequence;
        deserialize_map() => Hint::Map, Mapping;
        deserialize_identifier() => Hint::Identifier, Scalars;
        deserialize_ignored_any() => Hint::Ignored, Anything;
        deserialize_unit_struct(name: &'static str) => Hint::UnitStruct(name), Anything;
        deserialize_newtype_struct(name: &'static str) => Hint::NewtypeStruct(name), Newtype;
        deserialize_tuple(length: usize) => Hint::Tuple(length), Sequence;
        deserialize_tuple_struct(name: &'static str, length: usize) =>
            Hint::TupleStruct(name, length), Sequence;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) =>
            Hint::Struct(name, fields), Mapping;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) =>
            Hint::Enum(name, variants), Choices;
    }
}

struct Items<'a, 'de>(&'a mut dyn AnySeq<'de>);

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Raised;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Raised> {
        let mut seed = Seed(Once::new(seed));
        match self.0.next(&mut seed)? {
            true => seed.0.value().map(Some),
            false => Ok(None),
        }
    }
}

struct Entries<'a, 'de>(&'a mut dyn AnyMap<'de>);

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Raised;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Raised> {
        let mut seed = Seed(Once::new(seed));
        match self.0.key(&mut seed)? {
            true => seed.0.value().map(Some),
            false => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Raised> {
        let mut seed = Seed(Once::new(seed));
        self.0.value(&mut seed)?;
        seed.0.value()
    }
}

struct Choice<'a, 'de>(&'a mut dyn AnyEnum<'de>);

impl<'de> EnumAccess<'de> for Choice<'_, 'de> {
    type Error = Raised;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Raised> {
        let mut seed = Seed(Once::new(seed));
        self.0.name(&mut seed)?;
        Ok((seed.0.value()?, self))
    }
}

impl<'de> VariantAccess<'de> for Choice<'_, 'de> {
    type Error = Raised;

    fn unit_variant(self) -> Result<(), Raised> {
        self.0.content(Content::Unit)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Raised> {
        let mut seed = Seed(Once::new(seed));
        self.0.content(Content::Newtype(&mut seed))?;
        seed.0.value()
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Raised> {
        let mut visitor = Sequence(Once::new(visitor));
        self.0.content(Content::Tuple(length, &mut visitor))?;
        visitor.0.value()
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Raised> {
        let mut visitor = Mapping(Once::new(visitor));
        self.0.content(Content::Struct(fields, &mut visitor))?;
        visitor.0.value()
    }
}
