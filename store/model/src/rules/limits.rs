//! The numbers that bound records and the rules about them, each with the reason for its size.
//!
//! Limits of the wire, of the local API and of rendering stand where they are enforced. Unless a name says otherwise a
//! limit is inclusive, and exceeding it is a validation error that names the field.

/// A minute in milliseconds.
pub const MINUTE_MS: i64 = 60_000;
/// An hour in milliseconds.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// A day in milliseconds.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// A heartbeat older than this is stale; exactly this old is not. Three missed beats of the longest interval would be
/// 36 minutes, so a live agent has a beat to spare.
pub const STALE_AFTER_MS: i64 = 45 * MINUTE_MS;
/// The shortest heartbeat interval in seconds: 600 less a fifth.
pub const HEARTBEAT_MIN_S: u32 = 480;
/// The longest heartbeat interval in seconds: 600 and a fifth. The spread keeps a fleet from beating in step.
pub const HEARTBEAT_MAX_S: u32 = 720;

/// The longest repo field: GitHub's 39 characters of owner and 100 of name, with room for other forges.
pub const REPO_CHARS: usize = 200;
/// The longest branch name: what common file systems take as one ref file name.
pub const BRANCH_CHARS: usize = 255;
/// The greatest track. Tracks are a handful in practice; four digits keep lists aligned.
pub const TRACK_MAX: u32 = 9_999;
/// The fewest digits of a commit: git's default abbreviation.
pub const COMMIT_MIN_HEX: usize = 7;
/// The most digits of a commit: a SHA-256 object id.
pub const COMMIT_MAX_HEX: usize = 64;
/// The longest agent id: a DNS label, so that it can name a host, a branch part or a tmux session.
pub const AGENT_CHARS: usize = 63;
/// The longest machine part of an agent id: 31 characters of name, a hyphen and 8 of hash.
pub const MACHINE_CHARS: usize = 40;
/// The part of a long or changed host name that is kept before its hash.
pub const MACHINE_KEPT_CHARS: usize = 31;
/// The longest CLI part of an agent id.
pub const CLI_CHARS: usize = 10;
/// The length of an instance: 40 bits, enough that a machine's agents never meet.
pub const INSTANCE_CHARS: usize = 8;
/// The canonical size of a session's meta: a page of text, so that lists of sessions stay small.
pub const META_BYTES: usize = 16_384;
/// The longest key of a session's meta.
pub const META_KEY_CHARS: usize = 64;
/// The longest free text of one line: what a session is blocked on, a claim's note, a close reason.
pub const LINE_CHARS: usize = 500;

/// The canonical size of a handoff payload: 800 KiB, which leaves room for the envelope in a request of 1 MiB.
pub const PAYLOAD_BYTES: usize = 819_200;
/// The longest handoff summary that a caller may give.
pub const SUMMARY_CHARS: usize = 5_000;
/// Where a derived handoff summary is cut: it repeats what the lists say.
pub const DERIVED_SUMMARY_CHARS: usize = 500;
/// The most items of one handoff list.
pub const LIST_ITEMS: usize = 200;
/// The longest item of a handoff list.
pub const ITEM_CHARS: usize = 2_000;
/// The longest thread key: the prefix, a repo and a branch.
pub const THREAD_CHARS: usize = 500;
/// How much of an agent's last message a machine draft keeps.
pub const DRAFT_MESSAGE_CHARS: usize = 1_000;
/// How many changed files a machine draft names; the rest is counted.
pub const DRAFT_FILES: usize = 40;
/// How many handoffs the git view shows.
pub const VIEW_HANDOFFS: usize = 10;

/// The size of a note's body: half a megabyte is a book; what is larger belongs in a repo.
pub const NOTE_BYTES: usize = 512_000;
/// The longest note title.
pub const TITLE_CHARS: usize = 200;
/// The most tags of a note.
pub const TAGS: usize = 20;
/// The longest tag.
pub const TAG_CHARS: usize = 50;
/// The notes section of a start: about 3,000 tokens.
pub const INJECTION_CHARS: usize = 12_000;
/// The notes section of a start by hook: what the smallest hook cap of the supported CLIs leaves.
pub const HOOK_INJECTION_CHARS: usize = 2_000;
/// A cut note shorter than this says too little to be worth its heading.
pub const INJECTION_CUT_MIN_CHARS: usize = 500;
/// The most notes of a start.
pub const INJECTION_NOTES: usize = 10;
/// The longest heading line of an injected note.
pub const INJECTION_HEADING_CHARS: usize = 120;
/// The longest heading of the notes section.
pub const INJECTION_SECTION_CHARS: usize = 60;

/// The shortest lifetime of a claim: below it a claim is gone before another agent can read of it.
pub const CLAIM_MIN_MS: i64 = 5 * MINUTE_MS;
/// The lifetime of a claim when none is given: a working day and its night.
pub const CLAIM_DEFAULT_MS: i64 = DAY_MS;
/// The longest lifetime of a claim: a forgotten one of a lost machine is gone within a week.
pub const CLAIM_MAX_MS: i64 = 7 * DAY_MS;
/// The longest path glob. It bounds the product automaton of two globs to some 300,000 states.
pub const GLOB_CHARS: usize = 200;
/// The longest slug of a proposed branch.
pub const SLUG_CHARS: usize = 40;

/// The size of a doc's content.
pub const DOC_BYTES: usize = 1_048_576;
/// The longest doc name.
pub const DOC_NAME_CHARS: usize = 200;
/// Days until a doc is stale when its requirement names none.
pub const STALENESS_DAYS: u32 = 90;
/// The longest staleness limit: ten years is "never".
pub const STALENESS_DAYS_MAX: u32 = 3_650;
/// The most generation sources of a requirement.
pub const GENERATION_SOURCES: usize = 50;
/// The longest path of a generation source or of a global doc.
pub const SOURCE_CHARS: usize = 255;

/// The plan is stale at this age.
pub const PLAN_STALE_MS: i64 = 7 * DAY_MS;
/// The most target issues of a plan: a week's worth with room.
pub const PLAN_ISSUES: usize = 50;
/// The longest text field of a plan.
pub const PLAN_TEXT_CHARS: usize = 2_000;
/// The most repos of a venture.
pub const VENTURE_REPOS: usize = 200;
/// The most capabilities of a venture.
pub const VENTURE_CAPABILITIES: usize = 50;

/// A missing credential is pressing when seen again after more than this.
pub const CREDENTIAL_MS: i64 = 2 * MINUTE_MS;
/// Being blocked is pressing after more than this.
pub const BLOCKED_MS: i64 = 30 * MINUTE_MS;
/// How often one error is seen before each notice; past the last one the agent has been told enough.
pub const ERROR_NOTICES: [u32; 3] = [3, 6, 12];
/// How much of a normalised error is hashed: the first lines tell errors apart, later ones hold values.
pub const SIGNATURE_CHARS: usize = 500;
/// The longest text of an escalation: need, or one thing that was tried.
pub const ESCALATION_CHARS: usize = 2_000;
/// The most things tried of an escalation.
pub const ESCALATION_TRIED: usize = 50;
