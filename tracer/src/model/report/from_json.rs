//! Reads a record from JSON that anybody may have written: in memory that is bounded, whatever the
//! text contains.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, SeqAccess, Visitor},
};

use super::Record;

/// The maximum length of a record in JSON, bytes. A report of this version has at most 512 KiB.
pub(crate) const MAX_RECORD_BYTES: usize = 4 << 20;
/// The maximum number of values in a record. In memory, each can take 100 times its text.
const MAX_VALUES: usize = 1 << 18;
/// The maximum number of items in lists whose items are large.
pub(super) const MAX_ITEMS: usize = 4096;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Oom,
    Gap,
    Loss,
}

/// The key by which records differ.
#[derive(Deserialize)]
struct Tag {
    #[serde(rename = "type")]
    kind: Kind,
}

impl Record {
    /// Parses one record. Of a list that is longer than `MAX_ITEMS`, it keeps the first items.
    ///
    /// The derived `Deserialize` would first copy all of the text into values of any type.
    ///
    /// # Errors
    /// Fails if the text is not a record, or if it is too long.
    pub fn from_json(json: &[u8]) -> serde_json::Result<Self> {
        check_size(json, MAX_VALUES)?;
        Ok(match serde_json::from_slice::<Tag>(json)?.kind {
            Kind::Oom => {
                let mut report: Box<super::OomReport> = serde_json::from_slice(json)?;
                if report.victims.len() == MAX_ITEMS && report.victims_total.is_none() {
                    report.victims_total = Some(serde_json::from_slice::<Victims>(json)?.victims.0);
                }
                Self::Oom(report)
            }
            Kind::Gap => Self::Gap(serde_json::from_slice(json)?),
            Kind::Loss => Self::Loss(serde_json::from_slice(json)?),
        })
    }
}

/// Refuses a text that is too long, or that has more values than `max_values`.
pub(crate) fn check_size(json: &[u8], max_values: usize) -> serde_json::Result<()> {
    if json.len() > MAX_RECORD_BYTES {
        return Err(serde_json::Error::custom("it is too long"));
    }
    if n_values(json) > max_values {
        return Err(serde_json::Error::custom("it has too many values"));
    }
    Ok(())
}

/// An upper limit of the number of values.
fn n_values(json: &[u8]) -> usize {
    let (mut is_in_string, mut is_escaped, mut count) = (false, false, 1);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_in_string,
            b'"' => is_in_string = !is_in_string,
            b',' | b'[' | b'{' if !is_in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// The number of victims in the text.
#[derive(Deserialize)]
struct Victims {
    victims: Count,
}

struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut count = 0;
        deserializer.deserialize_seq(Items::<IgnoredAny, _>::new(|_| count += 1))?;
        Ok(Self(count))
    }
}

/// The first items of a list.
pub(crate) fn first<'de, const MAX: usize, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let mut items = Vec::new();
    deserializer.deserialize_seq(Items::new(|item| {
        if items.len() < MAX {
            items.push(item);
        }
    }))?;
    Ok(items)
}

/// The same of a list that may be absent.
pub(super) fn first_if_any<'de, const MAX: usize, D, T>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct List<const MAX: usize, T>(Vec<T>);

    impl<'de, const MAX: usize, T: Deserialize<'de>> Deserialize<'de> for List<MAX, T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            first::<MAX, D, T>(deserializer).map(Self)
        }
    }

    Ok(Option::<List<MAX, T>>::deserialize(deserializer)?.map(|List(items)| items))
}

/// Calls a function with each item of a list, so that no list is made.
struct Items<T, F> {
    each: F,
    item: PhantomData<T>,
}

impl<T, F: FnMut(T)> Items<T, F> {
    fn new(each: F) -> Self {
        Self { each, item: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T)> Visitor<'de> for Items<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            (self.each)(item);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_ITEMS, MAX_RECORD_BYTES, MAX_VALUES, Record, n_values};
    use crate::{fmt::timing::assert_linear, output::fixtures};

    fn with_victims(count: usize) -> String {
        let victims = vec![r#"{"pid":1,"chosen":false}"#; count].join(",");
        let source = r#""source":{"tier":"fentry"}"#;
        format!(
            r#"{{"type":"oom","schema":1,"id":"a","outcome":"killed",{source},"victims":[{victims}]}}"#
        )
    }

    #[test]
    fn record_is_the_same_as_by_the_derived_parser() {
        for (name, record) in fixtures::all() {
            let json = serde_json::to_vec(&record).unwrap();
            let derived: Record = serde_json::from_slice(&json).unwrap();
            assert_eq!(Record::from_json(&json).unwrap(), derived, "{name}");
        }
    }

    #[test]
    fn long_list_keeps_its_first_items_and_the_number_of_all() {
        for (count, total) in [(1, None), (MAX_ITEMS + 7, Some(MAX_ITEMS as u64 + 7))] {
            let Record::Oom(report) = Record::from_json(with_victims(count).as_bytes()).unwrap()
            else {
                panic!("another record");
            };
            assert_eq!(report.victims.len(), count.min(MAX_ITEMS));
            assert_eq!(report.victims_total, total);
        }
    }

    #[test]
    fn too_long_record_is_refused() {
        let json = with_victims(1).replace("killed", &"x".repeat(MAX_RECORD_BYTES));
        assert!(Record::from_json(json.as_bytes()).unwrap_err().to_string().contains("too long"));
        let error = Record::from_json(with_victims(MAX_VALUES / 2).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("too many values"), "{error}");
        let many = Record::from_json(format!("[{}]", "{},".repeat(MAX_VALUES)).as_bytes());
        assert!(many.unwrap_err().to_string().contains("too many values"));
    }

    #[test]
    fn separators_in_strings_are_no_values() {
        assert_eq!(n_values(br#"{"a\"[,{":[1,"\\",{}]}"#), 6);
    }

    #[test]
    fn time_to_parse_is_linear() {
        let (short, long) = (with_victims(20_000), with_victims(40_000));
        let parse = |json: &str| Record::from_json(json.as_bytes()).is_ok();
        assert_linear(|| parse(&short), || parse(&long));
    }
}
