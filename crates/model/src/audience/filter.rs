//! Filters: conditions over the properties of one event.

use crate::audience::program::{Leaf, Node, Program, Run, Source};
use crate::event::Event;
use crate::feature::{FeatureStates, Property, Value};
use crate::id::Timestamp;
use std::sync::Arc;

/// A compiled filter.
#[derive(Clone, Debug)]
pub struct Filter {
    program: Arc<Program>,
    text: Box<str>,
    by_product: bool,
}

impl Filter {
    pub(crate) fn new(program: Program, text: &str) -> Self {
        let of_product =
            |node: &Node| matches!(node, Node::Leaf(Leaf::Property(one)) if Property::is_of_product(one));
        let by_product = program.nodes.iter().any(of_product);
        Self { program: Arc::new(program), text: text.into(), by_product }
    }

    /// Its canonical text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it names a property that each product has its own of.
    pub fn looks_at_products(&self) -> bool {
        self.by_product
    }

    /// Whether it lets an event through, looking at product number `product` if one is named.
    pub fn holds(&self, event: &Event<'_>, product: Option<usize>) -> bool {
        let source = OfEvent { event, product };
        // An event has no clock, and nothing in a filter asks for one.
        Run { program: &self.program, source: &source, now: Timestamp(0) }.truth(self.program.root).0
    }
}

struct OfEvent<'a, 'e> {
    event: &'a Event<'e>,
    product: Option<usize>,
}

impl Source for OfEvent<'_, '_> {
    fn fact<'s>(&'s self, leaf: &'s Leaf) -> Value<'s> {
        match leaf {
            Leaf::Property(property) => property.of(self.event, self.product),
            _ => Value::Absent,
        }
    }

    fn node(&self, _: usize) -> Option<&FeatureStates> {
        None
    }
}
