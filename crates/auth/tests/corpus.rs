//! What the fuzz targets of this crate do, with what their runs and we have put into
//! `fuzz/corpus`.

#[path = "../../../fuzz/checks/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/checks/jwt.rs"]
mod jwt;
#[path = "../../../fuzz/checks/pdp_answer.rs"]
mod pdp_answer;
#[path = "../../../fuzz/checks/strict.rs"]
mod strict;

use corpus::replay;

#[test]
fn the_corpus_of_tokens_holds_only_where_it_may() {
    let whole = [
        "header_eddsa",
        "header_es256",
        "header_hs256",
        "header_rs256",
        "parts_eddsa",
        "parts_es256",
        "parts_hs256",
        "parts_rs256",
        "signed",
    ];
    replay("jwt", jwt::check, &whole);
}

#[test]
fn the_corpus_of_a_decision_points_answers_permits_only_where_it_says_so() {
    replay(
        "pdp_answer",
        pdp_answer::check,
        &["authzen_0", "opa_0", "xacml_0"],
    );
}
