//! One followed request: the moments it passes, and the spans that they become.

use super::Traces;
use super::span::{Attributes, Kind, Moment, Span, SpanId, TraceId, number, text};
use super::traceparent::Traceparent;
use engine::Stages;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is followed is a POST: the door asks for nothing else.
const METHOD: &str = "POST";

/// Told by the door and the shard how far the request has come. Spans are made when it is answered.
pub(crate) struct RequestTrace {
    traces: Arc<Traces>,
    trace_id: TraceId,
    span_id: SpanId,
    parent: Option<SpanId>,
    /// The path of a known route. Never the query: a beacon has its write key there.
    path: String,
    started: Moment,
    marks: Mutex<Marks>,
}

/// Monotonic times, in nanoseconds, and what is known by then.
#[derive(Clone, Default)]
struct Marks {
    received_ns: Option<u64>,
    body_bytes: usize,
    parsed_ns: Option<u64>,
    events: u32,
    stages: Option<Box<Stages>>,
}

impl RequestTrace {
    pub(super) fn new(
        traces: &Arc<Traces>,
        path: &str,
        parent: Option<Traceparent>,
        started: Moment,
    ) -> Option<Self> {
        let trace_id = match &parent {
            Some(parent) => parent.trace_id,
            None => traces.fresh_trace_id()?,
        };
        Some(Self {
            traces: Arc::clone(traces),
            trace_id,
            span_id: traces.fresh_span_id()?,
            parent: parent.map(|parent| parent.span_id),
            path: path.to_owned(),
            started,
            marks: Mutex::default(),
        })
    }

    /// The body is in memory.
    pub(crate) fn received(&self, body_bytes: usize) {
        let now_ns = self.now_ns();
        let mut marks = self.marks();
        marks.received_ns = Some(now_ns);
        marks.body_bytes = body_bytes;
    }

    /// The body has become records.
    pub(crate) fn parsed(&self, events: u32) {
        let now_ns = self.now_ns();
        let mut marks = self.marks();
        marks.parsed_ns = Some(now_ns);
        marks.events = events;
    }

    /// They were applied.
    pub(crate) fn applied(&self, stages: Option<Box<Stages>>) {
        let Some(stages) = stages else { return };
        let events = self.marks().events;
        self.traces.recent.note(stages.first, events, (self.trace_id, self.span_id));
        self.marks().stages = Some(stages);
    }

    /// The answer is ready: the spans go to whoever exports them.
    pub(crate) fn answered(&self, status: u16) {
        let ended_ns = self.now_ns();
        let marks = self.marks().clone();
        if let Some(spans) = self.spans(&marks, status, ended_ns) {
            self.traces.outbox.put(spans);
        }
    }

    fn now_ns(&self) -> u64 {
        self.traces.clock.monotonic_ns()
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spans(&self, marks: &Marks, status: u16, ended_ns: u64) -> Option<Vec<Span>> {
        let started_ns = self.started.monotonic_ns;
        let mut parts: Vec<(&'static str, u64, u64, Attributes)> = Vec::new();
        if let Some(received_ns) = marks.received_ns {
            let bytes = vec![("http.request.body.size", number(marks.body_bytes as u64))];
            parts.push(("read", started_ns, received_ns, bytes));
            if let Some(parsed_ns) = marks.parsed_ns {
                let events = vec![("throughline.events", number(marks.events))];
                parts.push(("parse", received_ns, parsed_ns, events));
            }
        }
        if let Some(stages) = &marks.stages {
            parts.push(("append", stages.submitted_ns, stages.append_started_ns, Attributes::new()));
            parts.push(("commit", stages.append_started_ns, stages.durable_ns, of_commit(stages)));
            parts.push(("apply", stages.apply_started_ns, stages.applied_ns, of_apply(stages)));
            parts.push(("answer", stages.applied_ns, ended_ns, Attributes::new()));
        }
        let mut spans = vec![self.root(marks, status, ended_ns)];
        for (name, from_ns, to_ns, attributes) in parts {
            spans.push(Span {
                trace_id: self.trace_id,
                span_id: self.traces.fresh_span_id()?,
                parent: Some((self.span_id, false)),
                name: name.to_owned(),
                kind: Kind::Internal,
                start_unix_ns: self.started.unix_ns(from_ns),
                end_unix_ns: self.started.unix_ns(to_ns.max(from_ns)),
                attributes,
                links: Vec::new(),
                failed: false,
            });
        }
        Some(spans)
    }

    fn root(&self, marks: &Marks, status: u16, ended_ns: u64) -> Span {
        let mut attributes = vec![
            ("http.request.method", text(METHOD)),
            ("url.path", text(&self.path)),
            ("http.response.status_code", number(status)),
        ];
        if marks.received_ns.is_some() {
            attributes.push(("http.request.body.size", number(marks.body_bytes as u64)));
        }
        if marks.parsed_ns.is_some() {
            attributes.push(("throughline.events", number(marks.events)));
        }
        if let Some(stages) = &marks.stages {
            attributes.push(("throughline.position", number(stages.first.0)));
        }
        Span {
            trace_id: self.trace_id,
            span_id: self.span_id,
            parent: self.parent.map(|parent| (parent, true)),
            name: format!("{METHOD} {}", self.path),
            kind: Kind::Server,
            start_unix_ns: self.started.unix_ns(self.started.monotonic_ns),
            end_unix_ns: self.started.unix_ns(ended_ns),
            attributes,
            links: Vec::new(),
            // OpenTelemetry's rule for servers: what the client did wrong is no failure of ours.
            failed: status >= 500,
        }
    }
}

fn of_commit(stages: &Stages) -> Attributes {
    vec![
        ("throughline.group.submissions", number(stages.group.submissions)),
        ("throughline.group.frames", number(stages.group.frames)),
        ("throughline.group.records", number(stages.group.records)),
        ("throughline.group.bytes", number(stages.group.bytes)),
    ]
}

fn of_apply(stages: &Stages) -> Attributes {
    vec![
        ("throughline.frame.submissions", number(stages.frame.submissions)),
        ("throughline.frame.records", number(stages.frame.records)),
        ("throughline.frame.bytes", number(stages.frame.bytes)),
        ("throughline.frame.duplicates", number(stages.duplicates)),
        ("throughline.frame.effects", number(stages.effects)),
        ("throughline.frame.unplanned_reads", number(stages.unplanned_reads)),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::TestTraces;
    use super::*;
    use engine::Together;
    use hyper::HeaderMap;
    use hyper::header::HeaderValue;
    use model::id::Position;

    /// Some span.
    pub(in super::super) fn any_span() -> Span {
        let test = TestTraces::start(1_000_000);
        let trace = test.traces.begin("/v1/batch", &HeaderMap::new()).unwrap();
        trace.root(&Marks::default(), 200, 0)
    }

    fn stages(at_ns: u64) -> Box<Stages> {
        let together = Together { submissions: 2, frames: 1, records: 5, bytes: 600 };
        Box::new(Stages {
            submitted_ns: at_ns,
            append_started_ns: at_ns + 10,
            durable_ns: at_ns + 200,
            apply_started_ns: at_ns + 230,
            applied_ns: at_ns + 300,
            first: Position(77),
            group: together,
            frame: together,
            duplicates: 1,
            effects: 4,
            unplanned_reads: 2,
        })
    }

    fn shape(spans: &[Span]) -> Vec<&str> {
        spans.iter().map(|span| span.name.as_str()).collect()
    }

    fn asked(flags: &str) -> HeaderMap {
        let value = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        HeaderMap::from_iter([(
            hyper::header::HeaderName::from_static("traceparent"),
            HeaderValue::from_str(&value).unwrap(),
        )])
    }

    #[test]
    fn an_answered_request_is_one_tree_in_the_senders_trace() {
        let mut test = TestTraces::start(0);
        let trace = test.traces.begin("/v1/batch", &asked("01")).unwrap();
        trace.received(90);
        trace.parsed(3);
        trace.applied(Some(stages(trace.now_ns())));
        trace.answered(200);
        let spans = test.exported().unwrap();
        assert_eq!(shape(&spans), ["POST /v1/batch", "read", "parse", "append", "commit", "apply", "answer"]);
        let root = &spans[0];
        assert_eq!(
            format!("{:032x}", u128::from_be_bytes(root.trace_id.0)),
            "0af7651916cd43dd8448eb211c80319c"
        );
        let parent = SpanId(0xb7ad_6b71_6920_3331_u64.to_be_bytes());
        assert_eq!((root.parent, root.kind, root.failed), (Some((parent, true)), Kind::Server, false));
        for (index, span) in spans.iter().enumerate() {
            assert_eq!(span.trace_id, root.trace_id);
            assert!(span.start_unix_ns <= span.end_unix_ns, "{span:?}");
            assert!(spans[..index].iter().all(|other| other.span_id != span.span_id));
            if index > 0 {
                assert_eq!((span.parent, span.kind), (Some((root.span_id, false)), Kind::Internal));
            }
        }
        let attribute = |span: &Span, name: &str| {
            span.attributes.iter().find(|(own, _)| *own == name).map(|(_, value)| value.clone())
        };
        for (name, value) in [
            ("http.request.method", text("POST")),
            ("url.path", text("/v1/batch")),
            ("http.response.status_code", number(200)),
            ("http.request.body.size", number(90)),
            ("throughline.events", number(3)),
            ("throughline.position", number(77)),
        ] {
            assert_eq!(attribute(root, name), Some(value), "{name}");
        }
        assert_eq!(attribute(&spans[5], "throughline.frame.unplanned_reads"), Some(number(2)));
    }

    #[test]
    fn a_request_that_fails_has_the_stages_that_it_reached() {
        for (reached, status, expected, failed) in [
            (0, 415, &["POST /v1/track"][..], false),
            (1, 400, &["POST /v1/track", "read"], false),
            (2, 429, &["POST /v1/track", "read", "parse"], false),
            (2, 503, &["POST /v1/track", "read", "parse"], true),
        ] {
            let mut test = TestTraces::start(1_000_000);
            let trace = test.traces.begin("/v1/track", &HeaderMap::new()).unwrap();
            if reached > 0 {
                trace.received(10);
            }
            if reached > 1 {
                trace.parsed(1);
            }
            trace.answered(status);
            let spans = test.exported().unwrap();
            assert_eq!((shape(&spans), spans[0].failed), (expected.to_vec(), failed), "{status}");
            assert_eq!(spans[0].parent, None);
        }
    }

    #[test]
    fn who_is_not_chosen_leaves_no_trace() {
        let test = TestTraces::start(0);
        assert!(test.traces.begin("/v1/track", &HeaderMap::new()).is_none());
        assert!(test.traces.begin("/v1/track", &asked("00")).is_none());
        let over = (0..100).filter(|_| test.traces.begin("/v1/track", &asked("01")).is_none()).count();
        assert_eq!(over, 90, "ten places a second, and the clock stands");
        let (followed, over_rate) = (&test.traces.followed, &test.traces.over_rate);
        let count =
            |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!((count(followed), count(over_rate)), (10, 90));
    }
}
