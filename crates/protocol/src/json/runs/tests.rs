use super::*;

/// A list as it stands in a request, from its first number on, with so much behind it.
fn list(texts: &[String], gap: &str, behind: usize) -> String {
    texts.join(&format!(",{gap}")) + "]" + &" ".repeat(behind)
}

/// Holds runs to what the standard library reads; returns how many numbers they held.
fn agrees(texts: &[String]) -> usize {
    let mut quickly = 0;
    for gap in ["", " "] {
        let body = list(texts, gap, LOOKED_AT);
        let mut rest = body.as_bytes();
        let mut index = 0;
        while index < texts.len() {
            let mut out = Vec::new();
            rest = read(rest, texts.len() - index, &mut out);
            for value in &out {
                let expected: f32 = texts[index].parse().unwrap();
                assert_eq!(value.to_bits(), expected.to_bits(), "{}", texts[index]);
                index += 1;
            }
            quickly += out.len();
            if index < texts.len() {
                // The one that ended the run is read elsewhere.
                assert!(rest.starts_with(texts[index].as_bytes()));
                rest = &rest[(texts[index].len() + 1 + gap.len()).min(rest.len())..];
                index += 1;
            }
        }
    }
    quickly
}

fn random() -> impl FnMut() -> u64 {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

#[test]
fn numbers_are_read_as_the_standard_library_reads_them() {
    let mut random = random();
    let bits: Vec<f32> = (0..20_000)
        .map(|_| f32::from_bits(random() as u32))
        .collect();
    let even: Vec<f32> = (0..20_000)
        .map(|_| (random() >> 40) as f32 / (1 << 23) as f32 - 1.0)
        .collect();
    let finite = || bits.iter().filter(|single| single.is_finite());
    let shortest: Vec<String> = even.iter().map(ToString::to_string).collect();
    assert!(agrees(&shortest) > 39_000, "most are read at once");
    let doubles: Vec<String> = even.iter().map(|x| f64::from(*x).to_string()).collect();
    assert!(agrees(&doubles) > 39_000, "most are read at once");
    agrees(&finite().map(|x| format!("{x:?}")).collect::<Vec<_>>());
    agrees(&finite().map(|x| format!("{x}")).collect::<Vec<_>>());
    agrees(
        &even
            .iter()
            .map(|x| format!("{}", x * 1e5))
            .collect::<Vec<_>>(),
    );
    agrees(
        &even
            .iter()
            .map(|x| format!("{:.3}", x * 1e3))
            .collect::<Vec<_>>(),
    );
    agrees(
        &even
            .iter()
            .map(|x| format!("{}", (x * 1e6) as i32))
            .collect::<Vec<_>>(),
    );
    agrees(
        &even
            .iter()
            .map(|x| format!("{:.17}", f64::from(*x) / 3.0))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn the_middle_between_two_singles_and_its_neighbours_are_not_guessed() {
    let mut random = random();
    let mut texts = Vec::new();
    for _ in 0..20_000 {
        let single = ((random() >> 40) as u32 | 1) as f32 / (1 << 24) as f32;
        let middle = f64::midpoint(f64::from(single), f64::from(single.next_up()));
        for near in [middle.next_down(), middle, middle.next_up()] {
            texts.push(format!("{near:.17}"));
            texts.push(format!("{near}"));
        }
    }
    agrees(&texts);
}

#[test]
fn a_run_ends_before_what_it_does_not_know() {
    for odd in [
        "01.5", "00", "1.", ".5", "-", "--1", "1e5", "1.5e3", "NaN", "null", "\"1\"", "[1]",
        "1.5.5", "1 .5", "+1", "-.5", "1.-5", "- 1", "0x1", "1_0", "\u{e9}", "\t1", "",
    ] {
        for place in 0..6 {
            let mut texts = vec!["-0.25".to_owned(); 12];
            texts.insert(place, odd.to_owned());
            for (gap, behind) in [("", LOOKED_AT), (" ", LOOKED_AT), ("", 0), (" ", 3)] {
                let mut out = Vec::new();
                read(list(&texts, gap, behind).as_bytes(), texts.len(), &mut out);
                // A window's numbers may be read in several steps, but none beyond the odd one.
                assert_eq!(out, vec![-0.25; place], "{odd} at {place} with gap '{gap}'");
            }
        }
    }
}

#[test]
fn a_run_is_no_longer_than_asked() {
    let body = "1.5,".repeat(100);
    for most in 0..40 {
        let mut out = Vec::new();
        let rest = read(body.as_bytes(), most, &mut out);
        assert!(out.len() <= most);
        assert_eq!(rest.len(), body.len() - 4 * out.len());
    }
}

#[test]
fn a_run_goes_on_where_the_body_ends_behind_it() {
    let mut random = random();
    for count in 1..40 {
        let texts: Vec<String> = (0..count)
            .map(|_| format!("{:.4}", (random() >> 40) as f32 / (1 << 23) as f32 - 1.0))
            .collect();
        for (gap, behind) in [("", 0), (" ", 0), ("", 3), (" ", 3)] {
            let body = list(&texts, gap, behind);
            let mut out = Vec::new();
            let rest = read(body.as_bytes(), count, &mut out);
            // The last has no comma behind it.
            let last = count - 1;
            assert_eq!(out.len(), last, "{body}");
            assert!(rest.starts_with(texts[last].as_bytes()));
            for (value, text) in out.iter().zip(&texts) {
                assert_eq!(Ok(*value), text.parse());
            }
            // Cut short anywhere, no number is read that is not whole.
            for length in 0..body.len() {
                let mut cut = Vec::new();
                read(&body.as_bytes()[..length], count, &mut cut);
                assert_eq!(cut, out[..cut.len()]);
            }
        }
    }
}
