use super::parquet_rows::ParquetRows;
use super::*;
use crate::http_client::stub::{self, Answer, Asked, reply};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const QUICK: RetryPolicy =
    RetryPolicy { attempts_max: 2, first_wait: Duration::from_millis(1), wait_max: Duration::from_millis(5) };

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("throughline-import-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("key"), "WK\n").unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn args(&self, file: &Path, kind: Kind, to: SocketAddr) -> ImportArgs {
        ImportArgs {
            file: file.to_owned(),
            kind,
            format: None,
            mappings: Vec::new(),
            event: None,
            to: format!("http://{to}"),
            write_key_file: Some(self.0.join("key")),
            batch: 7,
            connections: 1,
            refused_max: 1_000,
            refused: None,
            again: false,
            dry_run: false,
            json: false,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn import(args: &ImportArgs) -> Imported {
    super::run(args, QUICK, &Terminal::stderr()).unwrap()
}

/// A collector that refuses batches with an event that is called `bad`, is away while `away` says so, and keeps what it took.
fn collector(away: impl Fn(usize) -> bool + Send + Sync + 'static) -> (SocketAddr, Arc<Mutex<Vec<Value>>>) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&taken);
    let address = stub::start(move |asked: Asked| -> Answer {
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        let events = body["batch"].as_array().unwrap().clone();
        assert!(
            body["sentAt"].is_null(),
            "times in files are facts, not readings of a clock that may be wrong"
        );
        let mut taken = keep.lock().unwrap();
        if away(taken.len()) {
            return reply(401, "", r#"{"code":"unknown_write_key","message":"who are you"}"#);
        }
        if events.iter().any(|event| event["event"] == "bad") {
            return reply(400, "", r#"{"code":"bad","message":"no"}"#);
        }
        taken.extend(events);
        reply(200, "", r#"{"success":true}"#)
    });
    (address, taken)
}

fn columns(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn columns_go_where_they_belong() {
    let mapped = ["who=userId", "sum=properties.total:number", "secret=", "goods=properties.products:json"];
    let cases: [(Kind, &[&str], Value, Value); 12] = [
        (
            Kind::Events,
            &[],
            json!({"event": "E", "userId": "u", "colour": "red", "context.page.url": "x"}),
            json!({"type": "track", "event": "E", "userId": "u", "messageId": "id", "properties": {"colour": "red"},
                "context": {"page": {"url": "x"}}}),
        ),
        (
            Kind::Events,
            &mapped,
            json!({"event": "E", "who": "u", "sum": "20.50", "secret": "s", "goods": "[{\"product_id\":\"1\"}]"}),
            json!({"type": "track", "event": "E", "userId": "u", "messageId": "id",
                "properties": {"total": 20.5, "products": [{"product_id": "1"}]}}),
        ),
        // Text stays what it is: an article number is no number.
        (
            Kind::Events,
            &[],
            json!({"event": "E", "userId": "007", "sku": "0123", "name": "Shoe", "empty": "", "none": null}),
            json!({"type": "track", "event": "E", "userId": "007", "messageId": "id",
                "properties": {"sku": "0123", "name": "Shoe"}}),
        ),
        (
            Kind::Events,
            &[],
            json!({"type": "page", "name": "Home", "anonymousId": "a", "messageId": "own", "properties": {"x": 1}}),
            json!({"type": "page", "name": "Home", "anonymousId": "a", "messageId": "own", "properties": {"x": 1}}),
        ),
        (
            Kind::Events,
            &[],
            json!({"event": "E", "userId": "u", "properties": {"x": 1}, "properties.y": 2, "y.z": 3}),
            json!({"type": "track", "event": "E", "userId": "u", "messageId": "id",
                "properties": {"x": 1, "y": 2, "y.z": 3}}),
        ),
        (
            Kind::Profiles,
            &["mail=traits.email"],
            json!({"userId": "u", "mail": "a@b.c", "name": "Ann", "traits.address.city": "Ulm"}),
            json!({"type": "identify", "userId": "u", "messageId": "id",
                "traits": {"email": "a@b.c", "name": "Ann", "address": {"city": "Ulm"}}}),
        ),
        (
            Kind::Profiles,
            &[],
            json!({"mail": "x"}),
            json!("it names nobody: map a column to userId or anonymousId"),
        ),
        (
            Kind::Profiles,
            &[],
            json!({"userId": "u", "type": "track"}),
            json!("its type is not identify: import it --as events"),
        ),
        (
            Kind::Events,
            &[],
            json!({"userId": "u"}),
            json!("it names no event: map a column to event, or say --event NAME"),
        ),
        (
            Kind::Events,
            &["sum=properties.total:number"],
            json!({"event": "E", "userId": "u", "sum": "20,50"}),
            json!("sum: \"20,50\" is no number"),
        ),
        (
            Kind::Events,
            &["a=properties.x", "b=properties.x"],
            json!({"event": "E", "userId": "u", "a": 1, "b": 2}),
            json!("b: two columns go to properties.x"),
        ),
        (
            Kind::Events,
            &["a=properties.x.y"],
            json!({"event": "E", "userId": "u", "properties.x": 1, "a": 2, "zz": 0}),
            json!("properties.x: two columns go to properties.x"),
        ),
    ];
    for (kind, mappings, row, expected) in cases {
        let mappings: Vec<Mapping> = mappings.iter().map(|text| text.parse().unwrap()).collect();
        let plan = Plan::new(kind, &mappings, None).unwrap();
        let found = match plan.message(columns(row.clone()), "id") {
            Ok(message) => serde_json::from_slice(&message).unwrap(),
            Err(reason) => Value::String(reason),
        };
        assert_eq!(found, expected, "{row}");
    }
    let plan = Plan::new(Kind::Events, &[], Some("Ticket Bought")).unwrap();
    let message: Value =
        serde_json::from_slice(&plan.message(columns(json!({"userId": "u"})), "id").unwrap()).unwrap();
    assert_eq!(message["event"], "Ticket Bought");
}

#[test]
fn mappings_that_cannot_be_meant_are_refused() {
    for (text, part) in [
        ("userId", "COLUMN=PLACE"),
        ("=userId", "comes before"),
        ("a=user_id", "no member of a message"),
        ("a=userId.x", "has no members"),
        ("a=properties..x", "none of them empty"),
        ("a=properties.x:date", "is no type"),
    ] {
        let refused = text.parse::<Mapping>().unwrap_err();
        assert!(refused.contains(part), "{text}: {refused}");
    }
    let both: Vec<Mapping> = ["a=userId", "a=event"].iter().map(|text| text.parse().unwrap()).collect();
    assert!(Plan::new(Kind::Events, &both, None).unwrap_err().to_string().contains("mapped twice"));
    let plan = Plan::new(Kind::Events, &both[..1], None).unwrap();
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let missing = plan.check(Some(&names(&["b", "c"]))).unwrap_err().to_string();
    assert_eq!(missing, "there is no column a; there are: b, c");
    assert!(plan.check(Some(&names(&["a", "b", "b"]))).unwrap_err().to_string().contains("called b"));
}

#[test]
fn a_csv_file_is_read_as_spreadsheets_write_it() {
    let folder = Folder::new("csv");
    let text = "\u{feff}userId,note,sum\r\nu1,\"a, \"\"b\"\"\nc\",1\r\nu2,x\r\nu3,,3\r\n";
    let path = folder.file("a.csv", text);
    let mut rows = Rows::open(&path, Format::Csv).unwrap();
    assert_eq!(rows.names().unwrap(), ["userId", "note", "sum"]);
    let mut all = Vec::new();
    while let Some(row) = rows.next_row().unwrap() {
        all.push((row.number, row.columns.map(Value::Object)));
    }
    assert_eq!(all[0], (1, Ok(json!({"userId": "u1", "note": "a, \"b\"\nc", "sum": "1"}))));
    assert_eq!(all[1], (2, Err("it has 2 fields and the first line names 3".to_owned())));
    assert_eq!(all[2], (3, Ok(json!({"userId": "u3", "note": "", "sum": "3"}))));
    assert_eq!(all.len(), 3);
    fs::write(&path, b"userId\nu\xff\nok\n").unwrap();
    let mut rows = Rows::open(&path, Format::Csv).unwrap();
    let first = rows.next_row().unwrap().unwrap();
    assert!(first.columns.unwrap_err().contains("UTF-8"));
    assert!(rows.next_row().unwrap().unwrap().columns.is_ok(), "the rows behind it are read");
}

fn parquet_file(path: &Path) {
    let schema = "message rows {
        required binary userId (utf8);
        optional double price;
        required int64 at (timestamp(micros, true));
        required int64 fine (timestamp(nanos, true));
        required int32 day (date);
        required int32 sum (decimal(9, 2));
        optional group tags (list) { repeated group list { required binary element (utf8); } }
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = std::fs::File::create(path).unwrap();
    let mut writer =
        SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::builder().build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut place = 0;
    while let Some(mut column) = group.next_column().unwrap() {
        let texts = |all: &[&str]| all.iter().map(|text| ByteArray::from(*text)).collect::<Vec<_>>();
        match place {
            0 => column.typed::<ByteArrayType>().write_batch(&texts(&["u1", "u2"]), None, None),
            1 => column.typed::<DoubleType>().write_batch(&[2.5], Some(&[1, 0]), None),
            2 => column.typed::<Int64Type>().write_batch(&[1_500_000_000_000_000, 1], None, None),
            3 => column.typed::<Int64Type>().write_batch(&[1_500_000_000_000_000_999, -1], None, None),
            4 => column.typed::<Int32Type>().write_batch(&[17_000, 0], None, None),
            5 => column.typed::<Int32Type>().write_batch(&[1_999, -5], None, None),
            _ => column.typed::<ByteArrayType>().write_batch(
                &texts(&["a", "b"]),
                Some(&[2, 2, 0]),
                Some(&[0, 1, 0]),
            ),
        }
        .unwrap();
        column.close().unwrap();
        place += 1;
    }
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn a_parquet_file_keeps_its_types() {
    let folder = Folder::new("parquet");
    let path = folder.0.join("a.parquet");
    parquet_file(&path);
    let mut rows = ParquetRows::open(&path, std::fs::File::open(&path).unwrap()).unwrap();
    assert_eq!((rows.count(), rows.names().len()), (2, 7));
    let first = json!({"userId": "u1", "price": 2.5, "at": "2017-07-14T02:40:00.000Z",
        "fine": "2017-07-14T02:40:00.000Z", "day": "2016-07-18", "sum": "19.99", "tags": ["a", "b"]});
    assert_eq!(Value::Object(rows.next_columns().unwrap().unwrap()), first);
    let second = rows.next_columns().unwrap().unwrap();
    assert_eq!(
        (&second["price"], &second["sum"], &second["tags"]),
        (&Value::Null, &json!("-0.05"), &Value::Null)
    );
    assert!(rows.next_columns().unwrap().is_none());
    let (to, taken) = collector(|_| false);
    let mut args = folder.args(&path, Kind::Events, to);
    args.event = Some("Bought".to_owned());
    assert_eq!(import(&args).accepted, 2);
    assert_eq!(taken.lock().unwrap()[0]["properties"]["sum"], "19.99");
    fs::write(&path, b"PAR1 nothing of the kind").unwrap();
    let refused = super::run(&args, QUICK, &Terminal::stderr()).unwrap_err();
    assert!(format!("{refused:#}").contains("no Parquet file"), "{refused:#}");
}

fn numbered(count: u64, bad: impl Fn(u64) -> bool) -> String {
    let name = |row| if bad(row) { "bad" } else { "good" };
    (1..=count).map(|row| format!("{{\"event\":\"{}\",\"userId\":\"u{row}\"}}\n", name(row))).collect()
}

fn users(taken: &Mutex<Vec<Value>>) -> Vec<String> {
    let taken = taken.lock().unwrap();
    taken.iter().map(|event| event["userId"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn it_goes_on_where_it_was_left_and_reports_each_refused_row_once() {
    let folder = Folder::new("resume");
    let path = folder.file("a.ndjson", &(numbered(100, |row| row % 10 == 0) + "nonsense\n\n"));
    // Away as soon as 40 were taken, and back for the second run.
    let back = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_back = Arc::clone(&back);
    let (to, taken) =
        collector(move |taken| taken >= 40 && !is_back.load(std::sync::atomic::Ordering::SeqCst));
    let args = folder.args(&path, Kind::Events, to);
    let first = import(&args);
    assert!(first.ended_early.is_some_and(|why| why.contains("401")));
    assert!((35..=50).contains(&first.rows), "{}", first.rows);
    back.store(true, std::sync::atomic::Ordering::SeqCst);
    let second = import(&args);
    assert_eq!((second.done_before, second.ended_early), (first.rows, None));
    assert_eq!(second.rows, 101, "the line that is no object is a row, the empty one behind it is none");
    let refused = fs::read_to_string(beside(&path, ".refused.ndjson")).unwrap();
    let rows: Vec<u64> = refused
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["row"].as_u64().unwrap())
        .collect();
    assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), rows.len(), "each once: {rows:?}");
    assert_eq!(rows.len(), 11);
    let unique: BTreeSet<String> = users(&taken).into_iter().collect();
    assert_eq!(unique.len(), 90);
    let third = import(&args);
    assert_eq!(
        (third.rows, third.accepted, third.refused),
        (101, 0, 11),
        "all of it is done, and what was refused stays refused"
    );
    // The file grows: only what is new is sent.
    let more = fs::read_to_string(&path).unwrap() + "{\"event\":\"good\",\"userId\":\"new\"}\n";
    fs::write(&path, more).unwrap();
    let grown = import(&args);
    assert_eq!((grown.accepted, users(&taken).pop().as_deref()), (1, Some("new")));
    // It becomes another file: nothing is sent until somebody says so.
    fs::write(&path, numbered(300, |_| false)).unwrap();
    let other = super::run(&args, QUICK, &Terminal::stderr()).unwrap_err();
    assert!(other.to_string().contains("--again"), "{other}");
    let again = import(&ImportArgs { again: true, ..args });
    assert_eq!((again.accepted, again.refused), (300, 0));
}

#[test]
fn ids_are_of_the_row_whatever_it_is_mapped_to() {
    let folder = Folder::new("ids");
    let path = folder.file("a.csv", "who,what\nu1,a\nu1,a\n");
    let (to, taken) = collector(|_| false);
    for mapping in [&["who=userId"][..], &["who=userId", "what=properties.other"]] {
        let mut args = folder.args(&path, Kind::Events, to);
        args.mappings = mapping.iter().map(|text| text.parse().unwrap()).collect();
        args.event = Some("E".to_owned());
        args.again = true;
        assert_eq!(import(&args).accepted, 2);
    }
    let taken = taken.lock().unwrap();
    let ids: Vec<&str> = taken.iter().map(|event| event["messageId"].as_str().unwrap()).collect();
    assert_eq!((ids[0], ids[1]), (ids[2], ids[3]));
    assert_ne!(ids[0], ids[1], "two rows that look the same are two");
}

#[test]
fn a_wrong_mapping_ends_it_early() {
    let folder = Folder::new("wrong");
    let path = folder.file("a.csv", &("who\n".to_owned() + &"x\n".repeat(500)));
    let (to, taken) = collector(|_| false);
    let mut args = folder.args(&path, Kind::Profiles, to);
    args.refused_max = 20;
    let imported = import(&args);
    assert!(imported.ended_early.is_some_and(|why| why.contains("--again")));
    assert!((21..=40).contains(&imported.refused), "{}", imported.refused);
    assert!(taken.lock().unwrap().is_empty());
    args.dry_run = true;
    args.write_key_file = None;
    let dry = import(&args);
    assert_eq!((dry.rows, dry.accepted, dry.refused), (500, 0, 500));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn however_often_it_is_cut_everything_arrives(
        count in 1_u64..120,
        stops in prop::collection::vec(1_usize..120, 0..4),
        connections in 1_u32..4,
        batch in 1_u32..9,
    ) {
        let folder = Folder::new(&format!("cut-{count}-{connections}-{batch}-{}", stops.len()));
        let path = folder.file("a.ndjson", &numbered(count, |row| row % 7 == 3));
        let limit = Arc::new(Mutex::new(0_usize));
        let now = Arc::clone(&limit);
        let (to, taken) = collector(move |taken| taken >= *now.lock().unwrap());
        let args = ImportArgs { connections, batch, ..folder.args(&path, Kind::Events, to) };
        for stop in stops.iter().chain([&usize::MAX]) {
            *limit.lock().unwrap() = *stop;
            let imported = import(&args);
            prop_assert!(imported.rows <= count);
        }
        let unique: BTreeSet<String> = users(&taken).into_iter().collect();
        let expected = (1..=count).filter(|row| row % 7 != 3).map(|row| format!("u{row}"));
        prop_assert_eq!(unique, expected.collect::<BTreeSet<_>>());
        let refused = fs::read_to_string(beside(&path, ".refused.ndjson")).unwrap_or_default();
        let rows: Vec<Value> = refused.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let rows: BTreeSet<u64> = rows.iter().map(|line| line["row"].as_u64().unwrap()).collect();
        prop_assert_eq!(rows, (1..=count).filter(|row| row % 7 == 3).collect::<BTreeSet<_>>());
    }
}
