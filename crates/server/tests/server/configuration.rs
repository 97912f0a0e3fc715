//! Sources over each other, and what is refused.

use super::support::Scratch;
use proptest::prelude::*;
use server::config::{Config, ConfigError, Sources, keys, load};

fn from_file(text: &str) -> Result<Config, ConfigError> {
    let scratch = Scratch::new();
    std::fs::create_dir_all(&scratch.0).unwrap();
    let file = scratch.0.join("throughline.toml");
    std::fs::write(&file, text).unwrap();
    load(&Sources { file: Some(file), ..Sources::default() })
}

#[test]
fn sources_stand_over_each_other() {
    let scratch = Scratch::new();
    std::fs::create_dir_all(&scratch.0).unwrap();
    let file = scratch.0.join("throughline.toml");
    std::fs::write(
        &file,
        "[queue]\nitems_max = 100\nbytes_max = 2_000_000\n[telemetry]\nlog_format = \"json\"",
    )
    .unwrap();
    let environment = vec![
        ("THROUGHLINE_QUEUE_ITEMS_MAX".to_owned(), "200".to_owned()),
        ("THROUGHLINE_DEDUP_WINDOW_HOURS".to_owned(), "48".to_owned()),
        ("THROUGHLINE_BIN".to_owned(), "not a key".to_owned()),
        ("PATH".to_owned(), "/bin".to_owned()),
    ];
    let sources =
        Sources { file: Some(file), environment, assignments: vec!["dedup.window_hours = 72".to_owned()] };
    let config = load(&sources).unwrap();
    assert_eq!(config.queue.bytes_max, 2_000_000, "the file stands over the default");
    assert_eq!(config.queue.items_max, 200, "the environment stands over the file");
    assert_eq!(config.dedup.window_hours, 72, "the command line stands over the environment");
    let rest = Config { queue: Config::default().queue, dedup: Config::default().dedup, ..config };
    assert_eq!(rest.telemetry.log_format, server::config::LogFormat::Json);
    assert_eq!(rest.listen, Config::default().listen, "nothing else changed");
}

#[test]
fn a_section_inside_a_section_is_read_from_every_source() {
    let traces = |config: &Config| {
        let traces = &config.telemetry.traces;
        (traces.endpoint.clone(), traces.sample_per_million, traces.per_second_max)
    };
    let from_table =
        from_file("[telemetry.traces]\nendpoint = \"http://127.0.0.1:4318\"\nper_second_max = 5").unwrap();
    assert_eq!(traces(&from_table), ("http://127.0.0.1:4318".to_owned(), 1_000, 5));
    let inline = from_file("[telemetry]\nlog_level = \"warn\"\ntraces = { sample_per_million = 7 }").unwrap();
    assert_eq!(traces(&inline), (String::new(), 7, 10));
    let sources = Sources {
        file: None,
        environment: vec![("THROUGHLINE_TELEMETRY_TRACES_PER_SECOND_MAX".to_owned(), "3".to_owned())],
        assignments: vec!["telemetry.traces.sample_per_million=1_000_000".to_owned()],
    };
    assert_eq!(traces(&load(&sources).unwrap()), (String::new(), 1_000_000, 3));
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_to_do() {
    let table: &[(&str, &[&str])] = &[
        ("[queue]\nitem_max = 1", &["queue.item_max", "did you mean `queue.items_max`"]),
        ("[queues]\nitems_max = 1", &["queues.items_max", "did you mean `queue.items_max`"]),
        ("queue = 1", &["there is no key `queue`"]),
        ("[queue]\nitems_max = 1", &["queue.items_max", "from 16 to 1000000"]),
        ("[queue]\nitems_max = -5", &["from 16 to 1000000"]),
        ("[queue]\nitems_max = \"many\"", &["`many`", "from 16 to 1000000"]),
        ("[queue]\nitems_max = [1]", &["array", "a whole number"]),
        ("[listen]\ningest = \"localhost\"", &["127.0.0.1:7300"]),
        ("[listen]\nbehind_proxy = \"yes\"", &["true or false"]),
        ("[listen]\nadmin = \"0.0.0.0:7310\"", &["listen.admin", "behind_proxy = true", "127.0.0.1"]),
        ("[shop]\nlisten = \"0.0.0.0:7340\"", &["shop.listen", "behind_proxy = true", "127.0.0.1"]),
        ("[listen]\nprofiles = \"[::]:7311\"", &["listen.profiles"]),
        ("[listen]\ningest = \"10.0.0.1:7300\"", &["listen.ingest", "TLS"]),
        ("[ingest]\ndefault_country = \"XX\"", &["ingest.default_country", "DE"]),
        ("[ingest]\ndefault_currency = \"euro\"", &["ingest.default_currency", "EUR"]),
        ("[telemetry]\nlog_level = \"loud\"", &["error, warn, info or debug"]),
        ("[telemetry]\ntraces = 1", &["telemetry.traces", "did you mean"]),
        ("[telemetry.traces]\nendpont = \"\"", &["telemetry.traces.endpont", "`telemetry.traces.endpoint`"]),
        ("[telemetry.traces]\nper_second_max = 0", &["from 1 to 1000"]),
        ("[telemetry.traces]\nper_second_max = [1]", &["array", "a whole number"]),
        ("[telemetry.traces.more]\nendpoint = \"\"", &["telemetry.traces.more"]),
        ("[telemetry.other]\nendpoint = \"\"", &["telemetry.other"]),
        (
            "[telemetry.traces]\nendpoint = \"127.0.0.1:4318\"",
            &["telemetry.traces.endpoint", "http://127.0.0.1:4318"],
        ),
        ("[telemetry.traces]\nendpoint = \"http://collector:4318\"", &["delivery.allow"]),
        ("[data]\nregion = 70000", &["65535"]),
        ("[queue", &["is not TOML"]),
    ];
    for (text, expected) in table {
        let message = from_file(text).expect_err(text).to_string();
        for part in *expected {
            assert!(message.contains(part), "{text:?} gave {message:?} without {part:?}");
        }
    }
    let assignment = Sources { assignments: vec!["queue.items_max".to_owned()], ..Sources::default() };
    assert!(load(&assignment).unwrap_err().to_string().contains("section.key=value"));
    let variable = ("THROUGHLINE_QUEUE_ITEM_MAX".to_owned(), "1".to_owned());
    let environment = Sources { environment: vec![variable], ..Sources::default() };
    assert!(load(&environment).unwrap_err().to_string().contains("THROUGHLINE_QUEUE_ITEMS_MAX"));
    assert!(from_file("[listen]\nadmin = \"0.0.0.0:7310\"\nbehind_proxy = true").is_ok());
}

/// Every key takes its own default back, from the file and from the environment.
#[test]
fn every_default_can_be_written() {
    for key in keys() {
        let default = key.default_text();
        if key.expects == "a path" && default.is_empty() {
            continue;
        }
        let environment = vec![(key.variable(), default.clone())];
        let config = load(&Sources { environment, ..Sources::default() }).unwrap();
        assert_eq!(config, Config::default(), "{}", key.path());
        assert!(key.about.ends_with('.'), "{} has a sentence", key.path());
    }
    let mut paths: Vec<String> = keys().iter().map(|key| key.path()).collect();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), keys().len());
}

proptest! {
    /// Whatever stands in the file, it is taken or refused with a sentence.
    #[test]
    fn no_file_makes_it_panic(text in "(\\[[a-z]{1,6}\\]\n)?[a-z_.]{1,12} ?= ?[\"a-z0-9._\\[\\]{}-]{0,12}\n?") {
        if let Err(error) = from_file(&text) {
            prop_assert!(error.to_string().len() > 20);
        }
    }
}
