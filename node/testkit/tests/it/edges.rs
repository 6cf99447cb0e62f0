//! Who must not depend on whom, directly or through others, in what is built for users.
//!
//! The manifest of a pure package is a rule that the compiler keeps; this table keeps the manifest.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use super::tree::root;
use super::{Finding, assert_none};

/// A package, what it must never reach, and why.
struct Row {
    package: &'static str,
    never: &'static [&'static str],
    because: &'static str,
}

/// One row per package of the workspace.
const TABLE: &[Row] = &[
    Row {
        package: "ctxnode-model",
        never: &["tokio", "redb", "automerge", "hyper", "axum", "tantivy", "iroh", "tracing", "getrandom"],
        because: "rules take time and randomness as arguments and are tested without any engine",
    },
    Row {
        package: "ctxnode-store",
        never: &["hyper", "axum", "tantivy", "iroh", "rmcp", "clap", "ctxnode-api", "ctxnode-search", "ctxnode-config"],
        because: "the store is a replica, not a server: no network, no HTTP, no index, no screen",
    },
    Row {
        package: "ctxnode-search",
        never: &["redb", "automerge", "ctxnode-store", "hyper", "axum", "iroh", "tokio"],
        because: "the index is derived: it is fed from the journal and can be deleted",
    },
    Row {
        package: "ctxnode-sync-proto",
        never: &["tokio", "hyper", "axum", "redb", "automerge", "iroh", "getrandom", "tantivy"],
        because: "the exchange is a state machine that the simulator drives with virtual time",
    },
    Row {
        package: "ctxnode-sync",
        never: &["axum", "rmcp", "clap", "tantivy", "ctxnode-api", "ctxnode-search", "ctxnode-config", "openssl"],
        because: "the fleet moves entries between replicas: what is in them and how it is shown is not its business",
    },
    Row {
        package: "ctxnode-fleet",
        never: &["redb", "automerge", "tantivy", "tokio", "ctxnode-store", "ctxnode-search"],
        because: "plans and files are rendered from records; state belongs to the store",
    },
    Row {
        package: "ctxnode-config",
        never: &["tokio", "hyper", "redb", "automerge", "iroh", "tantivy", "ctxnode-store", "ctxnode-api", "tracing"],
        because: "settings are data made from maps and text",
    },
    Row {
        package: "ctxnode-api",
        never: &["redb", "automerge", "iroh", "tantivy", "axum", "ctxnode-store", "ctxnode-search"],
        because: "every client links the contract, and no client opens the database",
    },
    Row {
        package: "ctxnode-mcp",
        never: &["redb", "automerge", "iroh", "tantivy", "ctxnode-store", "ctxnode-search"],
        because: "tools and shim are clients of the daemon, and automerge may print into a protocol's stdout",
    },
    Row {
        package: "ctxnode-launcher",
        never: &["redb", "automerge", "iroh", "tantivy", "axum", "ctxnode-store", "ctxnode-search"],
        because: "the launcher is a client of the daemon",
    },
    Row {
        package: "ctxnode-node",
        never: &["openssl", "aws-lc-rs"],
        because: "there is one TLS stack (the launcher's library is a client of the API like any other)",
    },
    Row { package: "ctxnode-bench", never: &["ctxnode-launcher"], because: "benches measure the product from outside" },
    Row {
        package: "ctxnode-testkit",
        never: &["redb", "automerge", "iroh", "tantivy", "ctxnode-store"],
        because: "tests with real binaries look from outside",
    },
];

/// Edges that another package of the workspace switches on by a feature: in a build of the pure package alone they are
/// not there, and its code cannot name what is behind them.
const FEATURES_OF_OTHERS: &[(&str, &str)] = &[("crypto-common", "rand_core")];

/// The package that may only ever be a dev-dependency.
const TESTS_ONLY: &str = "ctxnode-testkit";

/// Names of packages and what each depends on in a normal build.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Returns every forbidden edge, with the path that leads to it, and every package without a row.
fn findings(graph: &Graph, members: &BTreeSet<String>, table: &[Row]) -> Vec<Finding> {
    let mut found = Vec::new();
    for member in members {
        match table.iter().find(|row| row.package == member) {
            Some(row) => found.extend(forbidden(graph, row)),
            None => found.push(Finding::in_file(member, "has no row in the table of forbidden edges")),
        }
        if member != TESTS_ONLY && path_to(graph, member, TESTS_ONLY).is_some() {
            found.push(Finding::in_file(member, format!("{TESTS_ONLY} is for [dev-dependencies] only")));
        }
    }
    for row in table.iter().filter(|row| !members.contains(row.package)) {
        found.push(Finding::in_file(row.package, "has a row and is no package of the workspace"));
    }
    found
}

fn forbidden(graph: &Graph, row: &Row) -> Vec<Finding> {
    let reached = row.never.iter().filter_map(|never| path_to(graph, row.package, never));
    reached
        .map(|path| Finding::in_file(row.package, format!("reaches {} ({})", path.join(" -> "), row.because)))
        .collect()
}

/// Returns a shortest path between two packages, both ends included.
fn path_to(graph: &Graph, from: &str, to: &str) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([from]);
    while let Some(at) = queue.pop_front() {
        for next in graph.get(at).into_iter().flatten() {
            let is_own = !FEATURES_OF_OTHERS.contains(&(at, next.as_str()));
            if is_own && next != from && !came_from.contains_key(next.as_str()) {
                came_from.insert(next, at);
                queue.push_back(next);
            }
        }
    }
    came_from.contains_key(to).then(|| {
        let back = std::iter::successors(Some(to), |at| came_from.get(at).copied());
        let mut path: Vec<String> = back.map(str::to_owned).collect();
        path.reverse();
        path
    })
}

/// Reads the graph of this workspace, for this platform: asking for all platforms would download packages that no
/// build here needs.
fn workspace() -> (Graph, BTreeSet<String>) {
    let host = host_triple();
    let metadata = MetadataCommand::new()
        .current_dir(root())
        .other_options(vec!["--filter-platform".to_owned(), host])
        .exec()
        .expect("cargo describes the workspace");
    let names: BTreeMap<&PackageId, String> =
        metadata.packages.iter().map(|package| (&package.id, package.name.to_string())).collect();
    let members = metadata.workspace_members.iter().map(|id| names[id].clone()).collect();
    (graph(&metadata, &names), members)
}

fn graph(metadata: &Metadata, names: &BTreeMap<&PackageId, String>) -> Graph {
    let mut graph = Graph::new();
    for node in &metadata.resolve.as_ref().expect("the workspace is resolved").nodes {
        let normal =
            |dep: &&cargo_metadata::NodeDep| dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
        let dependencies = node.deps.iter().filter(normal).map(|dep| names[&dep.pkg].clone());
        // Two versions of one crate share a row: a rule about the crate is meant for both.
        graph.entry(names[&node.id].clone()).or_default().extend(dependencies);
    }
    graph
}

fn host_triple() -> String {
    let output = std::process::Command::new("rustc").arg("-vV").output().expect("rustc is there, it built this test");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host").to_owned()
}

#[test]
fn packages_keep_away_from_what_they_must_not_know() {
    let (graph, members) = workspace();
    assert_none(&findings(&graph, &members, TABLE));
}

#[cfg(test)]
mod firing {
    //! The rule on graphs that break it.

    use super::*;

    const ROWS: &[Row] = &[Row { package: "pure", never: &["tokio"], because: "it is pure" }];

    fn graph_of(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    }

    fn check(edges: &[(&str, &str)], members: &[&str], expected: &[&str]) {
        let members = members.iter().map(|&member| member.to_owned()).collect();
        let found: Vec<String> =
            findings(&graph_of(edges), &members, ROWS).into_iter().map(|finding| finding.what).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_direct_and_an_indirect_edge_fire_with_their_path() {
        check(&[("pure", "tokio")], &["pure"], &["reaches pure -> tokio (it is pure)"]);
        check(
            &[("pure", "a"), ("a", "b"), ("b", "a"), ("b", "tokio")],
            &["pure"],
            &["reaches pure -> a -> b -> tokio (it is pure)"],
        );
        check(&[("pure", "a"), ("other", "tokio")], &["pure"], &[]);
    }

    #[test]
    fn a_package_without_a_row_and_a_row_without_a_package_fire() {
        check(&[], &["pure", "new"], &["has no row in the table of forbidden edges"]);
        check(&[], &[], &["has a row and is no package of the workspace"]);
    }

    #[test]
    fn the_testkit_as_a_normal_dependency_fires() {
        check(&[("pure", TESTS_ONLY)], &["pure"], &["ctxnode-testkit is for [dev-dependencies] only"]);
    }
}
