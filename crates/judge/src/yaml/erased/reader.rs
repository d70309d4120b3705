//! The side of the reader: generic over it, and made once for each of its parts.

use super::*;

/// A part of the reader that is used once, and why it failed.
pub(in crate::yaml) struct Reader<P, E> {
    part: Option<P>,
    failed: Option<E>,
}

impl<P, E: serde::de::Error> Reader<P, E> {
    pub(in crate::yaml) fn new(part: P) -> Reader<P, E> {
        Reader {
            part: Some(part),
            failed: None,
        }
    }

    fn take(&mut self) -> Result<P, Raised> {
        self.part.take().ok_or_else(used_up)
    }

    fn keep<T>(&mut self, result: Result<T, E>) -> Result<T, Raised> {
        result.map_err(|error| {
            self.failed = Some(error);
            Raised::new(Why::ByReader)
        })
    }

    /// The outcome as the reader tells it.
    pub(in crate::yaml) fn told<T>(self, result: Result<T, Raised>) -> Result<T, E> {
        result.map_err(|raised| raised.told(self.failed))
    }
}

impl<'de, D: Deserializer<'de>> AnyDeserializer<'de> for Reader<D, D::Error> {
    #[allow(private_interfaces)]
    fn read(&mut self, hint: Hint, visitor: &mut dyn AnyVisitor<'de>) -> Result<(), Raised> {
        let (reader, visitor) = (self.take()?, Visits(visitor));
        let result = match hint {
            Hint::Any => reader.deserialize_any(visitor),
            Hint::Bool => reader.deserialize_bool(visitor),
            Hint::I8 => reader.deserialize_i8(visitor),
            Hint::I16 => reader.deserialize_i16(visitor),
            Hint::I32 => reader.deserialize_i32(visitor),
            Hint::I64 => reader.deserialize_i64(visitor),
            Hint::U8 => reader.deserialize_u8(visitor),
            Hint::U16 => reader.deserialize_u16(visitor),
            Hint::U32 => reader.deserialize_u32(visitor),
            Hint::U64 => reader.deserialize_u64(visitor),
            Hint::F32 => reader.deserialize_f32(visitor),
            Hint::F64 => reader.deserialize_f64(visitor),
            Hint::Char => reader.deserialize_char(visitor),
            Hint::Str => reader.deserialize_str(visitor),
            Hint::String => reader.deserialize_string(visitor),
            Hint::Bytes => reader.deserialize_bytes(visitor),
            Hint::ByteBuf => reader.deserialize_byte_buf(visitor),
            Hint::Option => reader.deserialize_option(visitor),
            Hint::Unit => reader.deserialize_unit(visitor),
            Hint::Seq => reader.deserialize_seq(visitor),
            Hint::Map => reader.deserialize_map(visitor),
            Hint::Identifier => reader.deserialize_identifier(visitor),
            Hint::Ignored => reader.deserialize_ignored_any(visitor),
            Hint::UnitStruct(name) => reader.deserialize_unit_struct(name, visitor),
            Hint::NewtypeStruct(name) => reader.deserialize_newtype_struct(name, visitor),
            Hint::Tuple(length) => reader.deserialize_tuple(length, visitor),
            Hint::TupleStruct(name, length) => {
                reader.deserialize_tuple_struct(name, length, visitor)
            }
            Hint::Struct(name, fields) => reader.deserialize_struct(name, fields, visitor),
            Hint::Enum(name, variants) => reader.deserialize_enum(name, variants, visitor),
        };
        self.keep(result)
    }
}

impl<'de, A: SeqAccess<'de>> AnySeq<'de> for Reader<A, A::Error> {
    fn next(&mut self, seed: &mut dyn AnySeed<'de>) -> Result<bool, Raised> {
        let items = self.part.as_mut().ok_or_else(used_up)?;
        let result = items.next_element_seed(Sows(seed));
        Ok(self.keep(result)?.is_some())
    }
}

impl<'de, A: MapAccess<'de>> AnyMap<'de> for Reader<A, A::Error> {
    fn key(&mut self, seed: &mut dyn AnySeed<'de>) -> Result<bool, Raised> {
        let entries = self.part.as_mut().ok_or_else(used_up)?;
        let result = entries.next_key_seed(Sows(seed));
        Ok(self.keep(result)?.is_some())
    }

    fn value(&mut self, seed: &mut dyn AnySeed<'de>) -> Result<(), Raised> {
        let entries = self.part.as_mut().ok_or_else(used_up)?;
        let result = entries.next_value_seed(Sows(seed));
        self.keep(result)
    }
}

/// An enum whose variant is not known, and then what the variant holds.
struct Variant<'de, A: EnumAccess<'de>> {
    of: Reader<A, A::Error>,
    holds: Option<A::Variant>,
}

impl<'de, A: EnumAccess<'de>> AnyEnum<'de> for Variant<'de, A> {
    fn name(&mut self, seed: &mut dyn AnySeed<'de>) -> Result<(), Raised> {
        let result = self.of.take()?.variant_seed(Sows(seed));
        let ((), holds) = self.of.keep(result)?;
        self.holds = Some(holds);
        Ok(())
    }

    fn content(&mut self, content: Content<'_, 'de>) -> Result<(), Raised> {
        let holds = self.holds.take().ok_or_else(used_up)?;
        let result = match content {
            Content::Unit => holds.unit_variant(),
            Content::Newtype(seed) => holds.newtype_variant_seed(Sows(seed)),
            Content::Tuple(length, visitor) => holds.tuple_variant(length, Visits(visitor)),
            Content::Struct(fields, visitor) => holds.struct_variant(fields, Visits(visitor)),
        };
        self.of.keep(result)
    }
}

/// What the reader gives a part of itself to.
struct Sows<'a, 'de>(&'a mut dyn AnySeed<'de>);

impl<'de> DeserializeSeed<'de> for Sows<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let mut reader = Reader::new(deserializer);
        let result = self.0.sow(&mut reader);
        reader.told(result)
    }
}

/// What the reader tells what it has found.
struct Visits<'a, 'de>(&'a mut dyn AnyVisitor<'de>);

impl<'de> Visits<'_, 'de> {
    fn scalar<E: serde::de::Error>(self, scalar: Scalar<'de, '_>) -> Result<(), E> {
        self.0.scalar(scalar).map_err(|raised| raised.told(None))
    }
}

impl<'de> Visitor<'de> for Visits<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.scalar(Scalar::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.scalar(Scalar::I64(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.scalar(Scalar::U64(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.scalar(Scalar::F64(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.scalar(Scalar::Str(value))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, value: &'de str) -> Result<(), E> {
        self.scalar(Scalar::Borrowed(value))
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<(), E> {
        self.scalar(Scalar::String(value))
    }

    fn visit_bytes<E: serde::de::Error>(self, value: &[u8]) -> Result<(), E> {
        self.scalar(Scalar::Bytes(value))
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        self.scalar(Scalar::None)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.scalar(Scalar::Unit)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<(), D::Error> {
        let mut reader = Reader::new(inner);
        let result = self.0.some(&mut reader);
        reader.told(result)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<(), D::Error> {
        let mut reader = Reader::new(inner);
        let result = self.0.newtype(&mut reader);
        reader.told(result)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error> {
        let mut reader = Reader::new(items);
        let result = self.0.seq(&mut reader);
        reader.told(result)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<(), A::Error> {
        let mut reader = Reader::new(entries);
        let result = self.0.map(&mut reader);
        reader.told(result)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, of: A) -> Result<(), A::Error> {
        let mut variant = Variant {
            of: Reader::new(of),
            holds: None,
        };
        let result = self.0.variant(&mut variant);
        variant.of.told(result)
    }
}
