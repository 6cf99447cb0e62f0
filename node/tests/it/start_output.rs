//! The start of day against a store that holds far more than fits.

use ctxnode_api::Call;
use ctxnode_api::sessions::SodReply;
use serde_json::json;

use crate::support::{agent, alpha_repo, person, ready, start, text};

/// M-08 and S-28: five hundred long notes, a thousand docs, two hundred handoffs and sixty sessions stay within the
/// budgets, and what does not fit is counted.
#[test]
fn m_08_s_28_a_full_store_keeps_the_budgets() {
    let sandbox = ready();
    let _daemon = start(&sandbox);
    let repo = alpha_repo(&sandbox, "console");
    crate::support::block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..16_usize {
            let client = ctxnode_api::Client::new(ctxnode_api::Endpoint::Socket(sandbox.socket()));
            let mut client = client.with_header(ctxnode_api::headers::CALLER, "import").unwrap();
            tasks.spawn(async move {
                for number in (worker..1_000).step_by(16) {
                    let put = Call::new("doc.put", json!({ "content": format!("# 漢字 {number} {}", "title ".repeat(40)) }));
                    client.call(&put.param("scope", "alpha").param("name", format!("doc-{number}.md"))).await.unwrap();
                    if number < 500 {
                        let input = json!({
                            "title": "漢".repeat(200), "content": format!("{number} {}", "長い文 👩‍🚀 \"quoted\"\n".repeat(12_500)),
                            "tags": ["executive-summary"], "venture": "alpha", "human_requested": true,
                        });
                        client.call(&Call::new("note.create", input)).await.unwrap();
                    }
                }
            });
        }
        tasks.join_all().await
    });
    for number in 0..200 {
        let who = agent(&sandbox, &format!("claude-mac-{}", number % 4), repo.path());
        who.do_("sod", json!({ "issue": number + 1 }));
        let items = vec!["item ".repeat(100); 20];
        let status = if number % 2 == 0 { "blocked" } else { "in_progress" };
        who.do_("eod", json!({ "status": status, "accomplished": items, "blocked": items, "next_steps": items }));
    }
    for number in 0..60 {
        agent(&sandbox, &format!("gemini-mac-{number}"), repo.path()).do_("sod", json!({}));
    }
    let reply = agent(&sandbox, "codex-mac-9", repo.path()).do_("sod", json!({}));
    assert_eq!(reply["active_sessions"]["total"], 60);
    assert_eq!(reply["failed_parts"], json!([]));
    let typed: SodReply = serde_json::from_value(reply.clone()).unwrap();
    let (tool, hook) = (ctxnode_mcp::render::tool(&typed), ctxnode_mcp::render::hook(&typed));
    assert!(tool.chars().count() <= 20_000, "{}", tool.chars().count());
    assert!(hook.chars().count() <= 9_000 && hook.len().div_ceil(3) <= 2_300, "{}", hook.len());
    for form in [&tool, &hook] {
        assert!(form.contains(text(&reply, "session_id")) && form.contains("1000"), "{form}");
    }
    assert_eq!((&reply["notes"]["total"], &reply["open_handoffs"]["total"]), (&json!(500), &json!(199)));
    // N-08: a note of another venture is not part of it.
    let other = json!({ "content": "secret of beta", "tags": ["executive-summary"], "venture": "beta", "human_requested": true });
    person(&sandbox).do_("note.create", other);
    let again = agent(&sandbox, "codex-mac-9", repo.path()).do_("sod", json!({}));
    assert_eq!(again["notes"]["total"], 500);
}
