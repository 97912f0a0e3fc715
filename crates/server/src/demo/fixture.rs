//! Data of a few households for tests, written as Parquet in the shape of the real files.

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type, Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// 2017-01-01.
pub(super) const BEGIN_US: i64 = 1_483_228_800_000_000;

/// A folder that goes when it is dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("throughline-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) enum Column {
    Int(&'static str, Vec<i64>),
    Nanos(&'static str, Vec<i64>),
    Legacy(&'static str, Vec<i64>),
    Double(&'static str, Vec<f64>),
    Text(&'static str, Vec<Option<String>>),
}

/// Writes one file.
pub(super) fn write(path: &Path, columns: &[Column]) {
    let fields: Vec<String> = columns
        .iter()
        .map(|column| match column {
            Column::Int(name, _) => format!("optional int64 {name};"),
            Column::Nanos(name, _) => format!("optional int64 {name} (TIMESTAMP(NANOS,false));"),
            Column::Legacy(name, _) => format!("optional int96 {name};"),
            Column::Double(name, _) => format!("optional double {name};"),
            Column::Text(name, _) => format!("optional binary {name} (STRING);"),
        })
        .collect();
    let schema = Arc::new(parse_message_type(&format!("message schema {{ {} }}", fields.join(" "))).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    let mut group = file.next_row_group().unwrap();
    for column in columns {
        let mut writer = group.next_column().unwrap().unwrap();
        match column {
            Column::Int(_, values) | Column::Nanos(_, values) => {
                let levels = vec![1; values.len()];
                writer.typed::<Int64Type>().write_batch(values, Some(&levels), None).unwrap();
            }
            Column::Legacy(_, values) => {
                let instants: Vec<Int96> = values.iter().map(|at_us| int96(*at_us)).collect();
                let levels = vec![1; values.len()];
                writer.typed::<Int96Type>().write_batch(&instants, Some(&levels), None).unwrap();
            }
            Column::Double(_, values) => {
                let levels = vec![1; values.len()];
                writer.typed::<DoubleType>().write_batch(values, Some(&levels), None).unwrap();
            }
            Column::Text(_, values) => {
                let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
                let present: Vec<ByteArray> =
                    values.iter().flatten().map(|text| text.as_str().into()).collect();
                writer.typed::<ByteArrayType>().write_batch(&present, Some(&levels), None).unwrap();
            }
        }
        writer.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
}

fn int96(at_us: i64) -> Int96 {
    let (day, of_day_us) = (at_us.div_euclid(86_400_000_000), at_us.rem_euclid(86_400_000_000));
    let nanoseconds = (of_day_us * 1_000) as u64;
    let mut value = Int96::new();
    value.set_data(nanoseconds as u32, (nanoseconds >> 32) as u32, (day + 2_440_588) as u32);
    value
}

/// A year of `households` households in the folder; no chance in it. Returns orders and their value in cents.
pub(super) fn write_year(folder: &Path, households: i64) -> (u64, i64) {
    let (mut owner, mut basket, mut product, mut quantity) = (vec![], vec![], vec![], vec![]);
    let (mut sales, mut discount, mut at_ns) = (vec![], vec![], vec![]);
    let (mut orders, mut value_minor) = (0, 0);
    for week in 0..52_i64 {
        for household in (0..households).filter(|household| (household + week) % 3 != 0) {
            orders += 1;
            let lines = 1 + (household * 7 + week) % 5;
            for line in 0..lines {
                let cents = 99 + (household * 31 + week * 17 + line * 7) % 900;
                owner.push(1_000 + household);
                basket.push(31_000_000_000 + week * 10_000 + household);
                product.push(800 + (household * 3 + week + line * 11) % 60);
                quantity.push(if line == 3 { 0 } else { 1 + (week + line) % 3 });
                sales.push(cents as f64 / 100.0);
                discount.push(0.1);
                at_ns.push((BEGIN_US + week * 604_800_000_000 + household * 1_800_000_000) * 1_000);
                value_minor += cents;
            }
        }
    }
    let none = vec![0.0; owner.len()];
    write(
        &folder.join("transactions.parquet"),
        &[
            Column::Int("household_id", owner),
            Column::Int("basket_id", basket),
            Column::Int("product_id", product),
            Column::Int("quantity", quantity),
            Column::Double("sales_value", sales),
            Column::Double("retail_disc", discount),
            Column::Double("coupon_disc", none.clone()),
            Column::Double("coupon_match_disc", none),
            Column::Nanos("transaction_timestamp", at_ns),
        ],
    );
    write_rest(folder, households);
    (orders, value_minor)
}

fn write_rest(folder: &Path, households: i64) {
    let products: Vec<i64> = (800..858).collect();
    let some = |text: String| Some(text);
    let texts = |of: fn(i64) -> Option<String>| products.iter().map(|id| of(*id)).collect::<Vec<_>>();
    write(
        &folder.join("products.parquet"),
        &[
            Column::Int("product_id", products.clone()),
            Column::Text(
                "product_category",
                texts(|id| (id % 7 != 0).then(|| format!("CATEGORY \"{}\"", id % 9))),
            ),
            Column::Text("product_type", texts(|id| Some(format!("TYPE {}/X", id % 20)))),
            Column::Text("brand", texts(|_| Some("National".to_owned()))),
        ],
    );
    write(
        &folder.join("campaigns.parquet"),
        &[
            Column::Int("campaign_id", (0..households).map(|household| 1 + household % 2).collect()),
            Column::Int("household_id", (0..households).map(|household| 1_000 + household).collect()),
        ],
    );
    let days = |first: i64| vec![BEGIN_US + first * 86_400_000_000, BEGIN_US + (first + 60) * 86_400_000_000];
    write(
        &folder.join("campaign_descriptions.parquet"),
        &[
            Column::Int("campaign_id", vec![1, 2]),
            Column::Text("campaign_type", ["A", "B"].map(|kind| some(format!("Type {kind}"))).to_vec()),
            Column::Legacy("start_date", days(-40)),
            Column::Legacy("end_date", days(-10)),
        ],
    );
    write(
        &folder.join("coupon_redemptions.parquet"),
        &[
            Column::Int("household_id", vec![1_001, 1_002]),
            Column::Int("coupon_upc", vec![10_000_085_207, 51_380_041_013]),
            Column::Int("campaign_id", vec![1, 2]),
            Column::Nanos("redemption_date", days(30).into_iter().map(|at_us| at_us * 1_000).collect()),
        ],
    );
}
