//! Locations of fields in a text, found by their paths in one pass over the parser's events.

use std::fmt;

use serde_path_to_error::{Path, Segment};
use serde_saphyr::granit_parser::{Event, Marker, Parser, StrInput};

/// The locations of a node and of its key.
pub(super) struct NodeLocation {
    pub(super) key: Location,
    pub(super) value: Location,
    /// False for the location of an ancestor, because the text does not have the node.
    pub(super) is_exact: bool,
}

/// One step of a path: a key of a mapping or an index of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Step<'a> {
    /// Parses a path such as `spec.protected.allowed[1].sans`, in which no key has a dot or a bracket.
    pub(super) fn parse(path: &'a str) -> impl Iterator<Item = Step<'a>> {
        path.split(['.', '[']).map(|step| {
            let index = step.strip_suffix(']').and_then(|index| index.parse().ok());
            index.map_or(Step::Key(step), Step::Index)
        })
    }

    /// The steps of a path of the deserializer, up to the first that is not known.
    pub(super) fn of(path: &'a Path) -> impl Iterator<Item = Step<'a>> {
        path.iter().map_while(|segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } | Segment::Enum { variant: key } => Some(Step::Key(key)),
            Segment::Unknown => None,
        })
    }
}

/// A line and a column, each counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl NodeLocation {
    fn new(key: Location, value: Location) -> NodeLocation {
        NodeLocation {
            key,
            value,
            is_exact: true,
        }
    }
}

impl From<Marker> for Location {
    fn from(marker: Marker) -> Location {
        Location {
            line: marker.line(),
            column: marker.col() + 1,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Finds the node at a path in a text that was parsed before. If the text has no such node, this is
/// its nearest ancestor. Fields that an alias repeats have the location of the alias.
pub(super) fn locate<'a>(path: impl Iterator<Item = Step<'a>>, text: &str) -> Option<NodeLocation> {
    let mut events = Events(Parser::new_from_str(text));
    let (mut node, at) = events.next()?;
    let mut place = NodeLocation::new(at, at);
    for step in path {
        let child = match (step, &node) {
            (Step::Index(index), Event::SequenceStart(..)) => events.item(index),
            (Step::Key(key), Event::MappingStart(..)) => events.entry(key),
            _ => None,
        };
        let Some((child, at)) = child else {
            place.is_exact = matches!(node, Event::Alias(..));
            break;
        };
        (node, place) = (child, at);
    }
    Some(place)
}

/// The events of a text that begin and end nodes, each with its location.
struct Events<'a>(Parser<'a, StrInput<'a>>);

impl<'a> Events<'a> {
    fn next(&mut self) -> Option<(Event<'a>, Location)> {
        loop {
            let (event, span) = self.0.next()?.ok()?;
            let ends = matches!(event, Event::SequenceEnd | Event::MappingEnd);
            if ends || event.is_node() {
                return Some((event, span.start.into()));
            }
        }
    }

    /// The item with this index in the current sequence.
    fn item(&mut self, index: usize) -> Option<(Event<'a>, NodeLocation)> {
        for _ in 0..index {
            let (event, _) = self.next()?;
            self.skip(&event)?;
        }
        let (event, at) = self.next()?;
        Some((event, NodeLocation::new(at, at)))
    }

    /// The value of this key in the current mapping.
    fn entry(&mut self, wanted: &str) -> Option<(Event<'a>, NodeLocation)> {
        loop {
            let (event, key) = self.next()?;
            if event == Event::MappingEnd {
                return None;
            }
            let is_wanted = event.scalar().is_some_and(|(text, _)| text == wanted);
            self.skip(&event)?;
            let (event, value) = self.next()?;
            if is_wanted {
                return Some((event, NodeLocation::new(key, value)));
            }
            self.skip(&event)?;
        }
    }

    /// Skips the rest of the node that begins with this event.
    fn skip(&mut self, first: &Event<'a>) -> Option<()> {
        let mut open = usize::from(begins(first));
        while open > 0 {
            let (event, _) = self.next()?;
            if begins(&event) {
                open += 1;
            } else if matches!(event, Event::SequenceEnd | Event::MappingEnd) {
                open -= 1;
            }
        }
        Some(())
    }
}

fn begins(event: &Event<'_>) -> bool {
    matches!(event, Event::SequenceStart(..) | Event::MappingStart(..))
}
