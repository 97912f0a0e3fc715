//! The real data: a year of a grocer's households, their baskets, campaigns and coupons, as read from Parquet.

use super::chance::{Purpose, draw};
use super::columns::Columns;
use crate::calendar::DAY_US;
use anyhow::{Context as _, Result, ensure};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The files that are read.
pub(super) const FILES: [&str; 5] = [
    "transactions.parquet",
    "products.parquet",
    "campaigns.parquet",
    "campaign_descriptions.parquet",
    "coupon_redemptions.parquet",
];

/// Everything that the story is made of.
#[derive(Debug, Default)]
pub(super) struct Retail {
    /// Ids of the households that appear, sorted.
    pub(super) households: Vec<u32>,
    /// In the order of their time.
    pub(super) baskets: Vec<Basket>,
    pub(super) lines: Vec<Line>,
    pub(super) products: HashMap<u32, Product>,
    /// In the order of their time.
    pub(super) exposures: Vec<Exposure>,
    /// In the order of their time.
    pub(super) redemptions: Vec<Redemption>,
}

/// A basket: one order.
#[derive(Clone, Debug)]
pub(super) struct Basket {
    pub(super) id: u64,
    /// Index in [`Retail::households`].
    pub(super) household: usize,
    pub(super) at_us: i64,
    pub(super) discount_minor: i64,
    /// In [`Retail::lines`].
    pub(super) lines: Range<usize>,
}

/// One product of a basket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) product_id: u32,
    /// Pieces; of fuel and loose goods some small unit.
    pub(super) quantity: u32,
    /// What the shop received for all of them.
    pub(super) sales_minor: i64,
}

/// What the catalogue says about a product.
#[derive(Clone, Debug)]
pub(super) struct Product {
    pub(super) category: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) brand: Arc<str>,
}

/// A household was sent a campaign.
#[derive(Clone, Debug)]
pub(super) struct Exposure {
    pub(super) household: usize,
    pub(super) campaign: u32,
    pub(super) kind: Arc<str>,
    /// The day, at midnight.
    pub(super) day_us: i64,
}

/// A household used a coupon.
#[derive(Clone, Debug)]
pub(super) struct Redemption {
    pub(super) household: usize,
    pub(super) coupon: u64,
    pub(super) campaign: u32,
    /// The day, at midnight.
    pub(super) day_us: i64,
}

impl Retail {
    /// Reads the folder; with `households_max`, of so many households only, always the same ones.
    pub(super) fn load(folder: &Path, households_max: Option<usize>) -> Result<Self> {
        let transactions = Transactions::read(folder)?;
        let campaigns = Columns::open(&folder.join("campaigns.parquet"))?;
        let exposed = numbers::<u32>(&campaigns, "household_id")?;
        let everyone: BTreeSet<u32> = transactions.household.iter().chain(&exposed).copied().collect();
        let mut households: Vec<u32> = everyone.into_iter().collect();
        if let Some(most) = households_max {
            households.sort_by_key(|id| draw(Purpose::Household, u64::from(*id), 0));
            households.truncate(most);
            households.sort_unstable();
        }
        let mut retail = Self { households, ..Self::default() };
        retail.take_baskets(transactions)?;
        retail.take_products(folder)?;
        retail.take_exposures(folder, &campaigns, &exposed)?;
        retail.take_redemptions(folder)?;
        ensure!(!retail.baskets.is_empty(), "{} holds no baskets of these households", folder.display());
        Ok(retail)
    }

    /// What the shop received for a basket.
    pub(super) fn total_minor(&self, basket: &Basket) -> i64 {
        self.lines_of(basket).iter().map(|line| line.sales_minor).sum()
    }

    pub(super) fn lines_of(&self, basket: &Basket) -> &[Line] {
        self.lines.get(basket.lines.clone()).unwrap_or_default()
    }

    fn index_of(&self, household: u32) -> Option<usize> {
        self.households.binary_search(&household).ok()
    }

    fn take_baskets(&mut self, rows: Transactions) -> Result<()> {
        // The files are sorted by time with each basket in one piece; other people's copies need not be.
        let mut order: Vec<u32> = (0..u32::try_from(rows.basket.len())?).collect();
        let key = |row: &u32| {
            let row = *row as usize;
            (rows.at_us.get(row).copied(), rows.basket.get(row).copied())
        };
        if !order.is_sorted_by_key(key) {
            order.sort_by_key(key);
        }
        let mut closed = BTreeSet::new();
        for row in order {
            let Some(row) = rows.row(row as usize) else { continue };
            let Some(household) = self.index_of(row.household) else { continue };
            let end = self.lines.len();
            let open = self.baskets.last_mut().filter(|basket| basket.id == row.basket);
            match open {
                Some(basket) => {
                    let same = basket.household == household && basket.at_us == row.at_us;
                    ensure!(same, "basket {} has two times or households: is the file damaged?", row.basket);
                    basket.lines.end = end + 1;
                    basket.discount_minor += row.discount_minor;
                }
                None => {
                    ensure!(
                        closed.insert(row.basket),
                        "basket {} has two times: is the file damaged?",
                        row.basket
                    );
                    let (at_us, discount_minor) = (row.at_us, row.discount_minor);
                    let lines = end..end + 1;
                    self.baskets.push(Basket { id: row.basket, household, at_us, discount_minor, lines });
                }
            }
            self.lines.push(row.line);
        }
        Ok(())
    }

    fn take_products(&mut self, folder: &Path) -> Result<()> {
        let file = Columns::open(&folder.join("products.parquet"))?;
        let ids = numbers::<u32>(&file, "product_id")?;
        let (categories, names, brands) =
            (file.texts("product_category")?, file.texts("product_type")?, file.texts("brand")?);
        let sold: BTreeSet<u32> = self.lines.iter().map(|line| line.product_id).collect();
        // A few hundred categories and types stand for 92,000 products: each text is kept once.
        let mut kept: BTreeMap<String, Arc<str>> = BTreeMap::new();
        let mut keep = |text: Option<String>| match text {
            None => Arc::from(""),
            Some(text) => match kept.get(&text) {
                Some(known) => Arc::clone(known),
                None => {
                    let shared: Arc<str> = Arc::from(text.as_str());
                    kept.insert(text, Arc::clone(&shared));
                    shared
                }
            },
        };
        let texts = categories.into_iter().zip(names).zip(brands);
        for (id, ((category, name), brand)) in ids.into_iter().zip(texts) {
            if sold.contains(&id) {
                let product = Product { category: keep(category), name: keep(name), brand: keep(brand) };
                self.products.insert(id, product);
            }
        }
        Ok(())
    }

    fn take_exposures(&mut self, folder: &Path, campaigns: &Columns, exposed: &[u32]) -> Result<()> {
        let file = Columns::open(&folder.join("campaign_descriptions.parquet"))?;
        let ids = numbers::<u32>(&file, "campaign_id")?;
        let (kinds, starts) = (file.texts("campaign_type")?, file.instants_us("start_date")?);
        let mut descriptions: BTreeMap<u32, (Arc<str>, i64)> = BTreeMap::new();
        for (id, (kind, start_us)) in ids.into_iter().zip(kinds.into_iter().zip(starts)) {
            descriptions.insert(id, (Arc::from(kind.unwrap_or_default()), start_us));
        }
        let campaigns = numbers::<u32>(campaigns, "campaign_id")?;
        for (campaign, household) in campaigns.into_iter().zip(exposed) {
            let Some(household) = self.index_of(*household) else { continue };
            let (kind, start_us) = descriptions.get(&campaign).with_context(|| {
                format!("campaign {campaign} has no description: are the files of one release?")
            })?;
            let day_us = start_us.div_euclid(DAY_US) * DAY_US;
            self.exposures.push(Exposure { household, campaign, kind: Arc::clone(kind), day_us });
        }
        self.exposures.sort_by_key(|one| (one.day_us, one.campaign, one.household));
        Ok(())
    }

    fn take_redemptions(&mut self, folder: &Path) -> Result<()> {
        let file = Columns::open(&folder.join("coupon_redemptions.parquet"))?;
        let households = numbers::<u32>(&file, "household_id")?;
        let coupons = numbers::<u64>(&file, "coupon_upc")?;
        let campaigns = numbers::<u32>(&file, "campaign_id")?;
        let days = file.instants_us("redemption_date")?;
        let rows = households.into_iter().zip(coupons).zip(campaigns.into_iter().zip(days));
        for ((household, coupon), (campaign, at_us)) in rows {
            let Some(household) = self.index_of(household) else { continue };
            let day_us = at_us.div_euclid(DAY_US) * DAY_US;
            self.redemptions.push(Redemption { household, coupon, campaign, day_us });
        }
        self.redemptions.sort_by_key(|one| (one.day_us, one.household, one.coupon, one.campaign));
        Ok(())
    }
}

/// The columns of `transactions.parquet`.
struct Transactions {
    household: Vec<u32>,
    basket: Vec<u64>,
    product: Vec<u32>,
    quantity: Vec<u32>,
    sales_minor: Vec<i64>,
    discount_minor: Vec<i64>,
    at_us: Vec<i64>,
}

struct Row {
    household: u32,
    basket: u64,
    discount_minor: i64,
    at_us: i64,
    line: Line,
}

impl Transactions {
    fn read(folder: &Path) -> Result<Self> {
        let file = Columns::open(&folder.join("transactions.parquet"))?;
        let mut discount_minor = file.minor_units("retail_disc")?;
        for column in ["coupon_disc", "coupon_match_disc"] {
            for (sum, more) in discount_minor.iter_mut().zip(file.minor_units(column)?) {
                *sum += more;
            }
        }
        Ok(Self {
            household: numbers(&file, "household_id")?,
            basket: numbers(&file, "basket_id")?,
            product: numbers(&file, "product_id")?,
            quantity: numbers(&file, "quantity")?,
            sales_minor: file.minor_units("sales_value")?,
            discount_minor,
            at_us: file.instants_us("transaction_timestamp")?,
        })
    }

    fn row(&self, row: usize) -> Option<Row> {
        Some(Row {
            household: *self.household.get(row)?,
            basket: *self.basket.get(row)?,
            discount_minor: *self.discount_minor.get(row)?,
            at_us: *self.at_us.get(row)?,
            line: Line {
                product_id: *self.product.get(row)?,
                quantity: *self.quantity.get(row)?,
                sales_minor: *self.sales_minor.get(row)?,
            },
        })
    }
}

fn numbers<T: TryFrom<i64>>(file: &Columns, name: &str) -> Result<Vec<T>> {
    let fit = |(row, value): (usize, i64)| {
        T::try_from(value)
            .ok()
            .with_context(|| format!("row {row} of column {name} holds {value}, which cannot be"))
    };
    file.integers(name)?.into_iter().enumerate().map(fit).collect()
}
