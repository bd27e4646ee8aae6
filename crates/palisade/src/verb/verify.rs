//! `palisade verify`: the independent reader's judgement of a finished image.

use palisade_image::verify::{Expected, Facts, Finding, Verdict, verify as judge};
use palisade_policy::{LARGEST_PROGRAM, read_file};
use serde_json::{Value, json};

use crate::cli::Verify;
use crate::embedded;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::system::hex;
use crate::terminal::Terminal;

/// Verifies an image; its kernel must be the one that this command carries.
pub(crate) fn verify(arguments: &Verify, terminal: &Terminal) -> Result<Exit, Failure> {
    let path = &arguments.image;
    let image = read_file(path, LARGEST_PROGRAM).map_err(|error| Failure::reading(path, &error))?;
    if is_disc(&image) {
        let help = "verify the ELF file that was built with it: NAME.elf".to_owned();
        let message = format!("{} is a disc image", path.display());
        return Err(Failure::message(Exit::Input, message, Some(help)));
    }
    let verdict = judge(&image, &Expected { kernel: Some(embedded::KERNEL) });
    if terminal.json() {
        terminal.object(&object(&verdict))?;
    } else if verdict.is_good() {
        terminal.text(figures(&verdict.facts))?;
        for note in &verdict.notes {
            terminal.text(format_args!("note: {note}"))?;
        }
    } else {
        for finding in &verdict.findings {
            terminal.text(format_args!(
                "{}: {}\n    rule: {}",
                finding.rule.id, finding.message, finding.rule.specification
            ))?;
        }
        let count = verdict.findings.len();
        terminal.remark(format_args!("{} breaks rules: {count} finding{}", path.display(), plural(count)));
    }
    Ok(if verdict.is_good() { Exit::SUCCESS } else { Exit::Input })
}

/// Findings as one text for messages.
pub(crate) fn list(findings: &[Finding]) -> String {
    let lines: Vec<_> =
        findings.iter().map(|finding| format!("{}: {}", finding.rule.id, finding.message)).collect();
    lines.join("\n")
}

fn figures(facts: &Facts) -> String {
    format!(
        "verified: {}\n  subjects       {}\n  subject pages  {} ({} shared by a channel or another declared way)\n  \
         table pages    {}\n  kernel         sha256 {}\n  image          sha256 {}",
        facts.system,
        facts.subjects.join(", "),
        facts.subject_pages,
        facts.shared_pages,
        facts.table_pages,
        facts.kernel_sha256.map_or_else(|| "unknown".into(), |hash| hex(&hash)),
        hex(&facts.image_sha256),
    )
}

fn object(verdict: &Verdict) -> Value {
    let facts = &verdict.facts;
    let findings: Vec<_> = verdict
        .findings
        .iter()
        .map(|finding| {
            let rule = finding.rule;
            json!({ "rule": rule.id, "specification": rule.specification, "message": finding.message })
        })
        .collect();
    json!({
        "event": "verdict",
        "verified": findings.is_empty(),
        "findings": findings,
        "notes": verdict.notes,
        "system": facts.system,
        "subjects": facts.subjects,
        "subject_pages": facts.subject_pages,
        "shared_pages": facts.shared_pages,
        "table_pages": facts.table_pages,
        "kernel_sha256": facts.kernel_sha256.map(|hash| hex(&hash)),
        "image_sha256": hex(&facts.image_sha256),
    })
}

/// ISO 9660: the first volume descriptor is in sector 16.
fn is_disc(image: &[u8]) -> bool {
    image.get(0x8001..0x8006) == Some(b"CD001")
}

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
