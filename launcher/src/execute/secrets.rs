//! What can be asked of secrets without starting an agent: check one, store one, audit the shared ones.

use std::path::Path;

use ctxnode_api::operations::VentureView;
use ctxnode_api::{Call, Client};
use ctxnode_model::rules::repo::parse_remote;
use serde_json::json;

use crate::checkout::Checkout;
use crate::plan;
use crate::refusal::Refusal;
use crate::secrets::audit::{Finding, Standing, compare};
use crate::secrets::check::{Checked, short_hash};
use crate::secrets::{self, MachineFile, Provider, Secret, SecretError, Source, http, is_name};
use crate::world::{Autostart, World};

/// What the calls of this file need.
struct Known {
    client: Client,
    ventures: Vec<VentureView>,
    machine: MachineFile,
}

async fn known(world: &World) -> Result<Known, Refusal> {
    let mut client = world.client(Autostart::Allowed).await?;
    let ventures = world.ventures(&mut client).await?.0.items;
    let mut machine = world.machine()?;
    if machine.infisical.project.is_none() {
        machine.infisical.project = project_of(&world.around.directory);
    }
    Ok(Known { client, ventures, machine })
}

/// Returns the project that the Infisical file of a checkout names.
#[must_use]
pub fn project_of(directory: &Path) -> Option<String> {
    let text = std::fs::read_to_string(directory.join(".infisical.json")).ok()?;
    let value: serde_json::Value = serde_json::from_str(&text).ok()?;
    value["workspaceId"].as_str().map(str::to_owned)
}

/// Returns the project that the Infisical file of another checkout names, when all of them that belong to the same owner agree:
/// the file is often ignored by git, so that a new clone lacks it. Nothing is written into the checkout, which would never be
/// clean again.
#[must_use]
pub fn project_beside(repo: &str, own: &Path, all: &[Checkout]) -> Option<String> {
    let owner = repo.split_once('/')?.0;
    let same = |checkout: &&Checkout| {
        let remotes = checkout.remotes.iter().filter_map(|remote| parse_remote(remote));
        checkout.path != own
            && remotes
                .into_iter()
                .any(|found| found.split_once('/').is_some_and(|(o, _)| o.eq_ignore_ascii_case(owner)))
    };
    let mut projects: Vec<String> = all.iter().filter(same).filter_map(|checkout| project_of(&checkout.path)).collect();
    projects.sort_unstable();
    projects.dedup();
    // Two that differ are no answer: the wrong project would give the agent somebody else's secrets.
    if projects.len() == 1 { projects.pop() } else { None }
}

fn source_of(known: &Known, world: &World, code: &str) -> Result<Source, Refusal> {
    let venture = plan::venture::find(code, &known.ventures)?;
    let (source, _) = secrets::decide(venture, &known.machine, None, world.is_remote())?;
    Ok(source.ok_or_else(|| SecretError::NoProvider(venture.code.clone()))?)
}

/// Tells whether a venture has a secret, and its short hash; never the value.
///
/// # Errors
/// When the venture is not known or its provider fails.
pub async fn check(world: &World, name: &str, venture: &str) -> Result<Checked, Refusal> {
    if !is_name(name) {
        return Err(SecretError::BadName(name.to_owned()).into());
    }
    let mut known = known(world).await?;
    let source = source_of(&known, world, venture)?;
    // Whether others are missing is not the question here.
    let source = Source { required: Vec::new(), ..source };
    let found = match secrets::fetch(&source, &world.around.env, &known.machine, &world.around.directory).await {
        Err(SecretError::NoEntries { .. }) => secrets::Secrets::default(),
        other => other?,
    };
    let body = known.client.call(&Call::new("node", json!({}))).await?.body;
    let fleet = body["fleet"].as_str().unwrap_or_default();
    let hash = found.get(name).map(|secret| short_hash(fleet, secret));
    Ok(Checked { name: name.to_owned(), venture: source.venture, present: hash.is_some(), hash })
}

/// Stores a secret at the venture's provider.
///
/// # Errors
/// When the provider cannot store, or refuses.
pub async fn set(world: &World, name: &str, venture: &str, value: &Secret) -> Result<(), Refusal> {
    if !is_name(name) {
        return Err(SecretError::BadName(name.to_owned()).into());
    }
    let known = known(world).await?;
    let source = source_of(&known, world, venture)?;
    if !matches!(source.provider, Provider::Infisical { .. }) {
        return Err(SecretError::ReadOnly(source.provider.name()).into());
    }
    let api = http::Api::login(&world.around.env, &known.machine).await?;
    let there = list(&api, &source).await?.get(name).is_some();
    Ok(api.store(&source.path, source.env.name(), name, value, there).await?)
}

/// A path that has nothing yet is empty, not a failure.
async fn list(api: &http::Api, source: &Source) -> Result<secrets::Secrets, SecretError> {
    match api.list(&source.path, source.env.name()).await {
        Err(SecretError::NoEntries { .. }) => Ok(secrets::Secrets::default()),
        other => other,
    }
}

/// Whether an audit only looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// It looks.
    Look,
    /// It copies what is missing.
    Fix,
}

/// Compares the shared secrets of every venture with their source.
///
/// # Errors
/// When nothing is shared, there are no credentials, or the service refuses.
pub async fn audit(world: &World, mode: Audit) -> Result<Vec<Finding>, Refusal> {
    let known = known(world).await?;
    let shared = known.machine.shared.clone().ok_or_else(|| SecretError::File {
        path: "ctxnode/secrets.toml".into(),
        reason: "it names nothing that is shared: [shared] path = \"/shared\"".to_owned(),
    })?;
    let api = http::Api::login(&world.around.env, &known.machine).await?;
    let env = crate::options::SecretsEnv::default().name();
    let source = api.list(&shared.path, env).await?;
    let mut findings = Vec::new();
    for venture in &known.ventures {
        let decided = secrets::decide(venture, &known.machine, None, true);
        let Ok((Some(at), _)) = decided else { continue };
        if !matches!(at.provider, Provider::Infisical { .. }) {
            continue;
        }
        let own = list(&api, &at).await?;
        let found = compare(&shared, &source, &venture.code, &own);
        for finding in found.iter().filter(|finding| mode == Audit::Fix && finding.standing == Standing::Missing) {
            if let Some(value) = source.get(&finding.name) {
                api.store(&at.path, at.env.name(), &finding.name, value, false).await?;
            }
        }
        findings.extend(found);
    }
    Ok(findings)
}
