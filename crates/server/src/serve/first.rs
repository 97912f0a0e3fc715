//! The first start: one token and two write keys, so that the first event can be sent at once.

use crate::api::{ADMIN, Context, DECIDE, PROFILE_READ, execute, hash_of, number_for};
use crate::feed::FEED_ALL;
use anyhow::Context as _;
use engage::{Operation, Token, WriteKey, WriteKeyKind};
use std::fmt;
use std::sync::Arc;

/// Numbers that a first start gives.
const BROWSER_NUMBER: u32 = 1;
const SERVER_NUMBER: u32 = 2;

/// What a start made. The token is shown once and kept nowhere in clear.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Scopes admin, profile:read, decide and feed:*.
    pub admin_token: String,
    /// Public: for web pages and apps.
    pub browser_write_key: String,
    /// Secret: for the shop's own servers.
    pub server_write_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials(…)")
    }
}

/// Makes what is missing. `None` if the directory has a token already and no new one is asked for.
pub(super) fn credentials(context: &Arc<Context>, anew: bool) -> anyhow::Result<Option<Credentials>> {
    let settings = context.engine.view().settings();
    if !settings.tokens.is_empty() && !anew {
        return Ok(None);
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().context("no runtime for the first start")?;
    runtime.block_on(make(context)).map(Some).map_err(|problem| anyhow::anyhow!("{}", problem.message))
}

async fn make(context: &Context) -> Result<Credentials, crate::api::Problem> {
    let browser_write_key = write_key(context, WriteKeyKind::Browser, BROWSER_NUMBER).await?;
    let server_write_key = write_key(context, WriteKeyKind::Server, SERVER_NUMBER).await?;
    let admin_token = context.secrets.token(None)?;
    let settings = context.engine.view().settings();
    // The token comes last: a start that was interrupted before makes all that is missing again.
    let token = Token {
        number: number_for(&admin_token, i32::MAX as u32, |number| {
            settings.tokens.iter().any(|own| own.number == number)
        })?,
        hash: hash_of(&admin_token),
        scopes: [ADMIN, PROFILE_READ, DECIDE, FEED_ALL].map(str::to_owned).to_vec(),
        name: "first admin".to_owned(),
    };
    execute(context, None, Operation::DefineToken(token)).await?;
    Ok(Credentials { admin_token, browser_write_key, server_write_key })
}

/// The write key of a first start: the one that is there, or a new one.
async fn write_key(
    context: &Context,
    kind: WriteKeyKind,
    number: u32,
) -> Result<String, crate::api::Problem> {
    let settings = context.engine.view().settings();
    if let Some(known) = settings.write_keys.iter().find(|key| key.number == number) {
        return Ok(known.key.clone());
    }
    let key = context.secrets.write_key(None)?;
    let name = match kind {
        WriteKeyKind::Browser => "first browser key",
        WriteKeyKind::Server => "first server key",
    };
    let value_counts = kind == WriteKeyKind::Server;
    let made =
        WriteKey { key: key.clone(), number, kind, enabled: true, value_counts, name: name.to_owned() };
    execute(context, None, Operation::DefineWriteKey(made)).await?;
    Ok(key)
}
