use super::*;
use crate::tensor::Written;

#[test]
fn flat_and_nested_lists_are_the_same_tensor() {
    let flat = input("INT32", "[2,3]", "[1,2,3,4,5,6]");
    let nested = input("INT32", "[2,3]", " [ [1, 2,\n3] , [4,5,6] ]");
    assert_eq!(flat, nested);
    assert_eq!(flat.as_slice::<i32>(), Some(&[1, 2, 3, 4, 5, 6][..]));
    let deep = input("INT32", "[1,2,1,3]", "[[[[1,2,3]],[[4,5,6]]]]");
    assert_eq!(deep.as_slice::<i32>(), flat.as_slice::<i32>());
}

#[test]
fn a_scalar_is_one_element_bare_or_in_a_list() {
    assert_eq!(input("FP32", "[]", "1.5"), input("FP32", "[]", "[1.5]"));
    assert_eq!(input("BYTES", "[]", "\"a\"").strings().unwrap(), ["a"]);
    assert_eq!(
        input_refused("FP32", "[1]", "1.5"),
        "input 'x': 'data' must be a list, but is 1.5"
    );
    assert!(input_refused("FP32", "[]", "[[1.5]]").contains("deeper than shape []"));
    assert!(input_refused("FP32", "[]", "[]").contains("takes 1 elements, but got 0"));
}

#[test]
fn empty_tensors_are_flat_or_nested() {
    for (shape, data) in [
        ("[0]", "[]"),
        ("[0,2]", "[]"),
        ("[2,0]", "[]"),
        ("[2,0]", "[[],[ ]]"),
        ("[2,0,3]", "[[],[]]"),
        ("[1,2,0]", "[[[],[]]]"),
    ] {
        assert_eq!(
            input("FP32", shape, data).element_count(),
            0,
            "{shape} {data}"
        );
    }
    assert!(input_refused("FP32", "[0,2]", "[[]]").contains("data has length 1"));
    assert!(input_refused("FP32", "[2,0]", "[[]]").contains("data has length 1"));
    assert!(input_refused("FP32", "[2,0]", "[[],[1]]").contains("data[1] has length 1"));
    assert!(input_refused("FP32", "[1,2,0]", "[[]]").contains("data[0] has length 0"));
}

#[test]
fn a_ragged_list_is_refused_with_its_index() {
    assert_eq!(
        input_refused("FP32", "[2,3]", "[[1,2,3],[4,5]]"),
        "input 'x': data[1] has length 2, but shape [2,3] wants 3 there"
    );
    assert_eq!(
        input_refused("FP32", "[2,3]", "[[1,2,3],[4,5,6,7,8]]"),
        "input 'x': data[1] has length 5, but shape [2,3] wants 3 there"
    );
}

#[test]
fn another_nesting_than_the_shape_is_refused() {
    assert_eq!(
        input_refused("FP32", "[2,3]", "[[1,2],[3,4],[5,6]]"),
        "input 'x': data[0] has length 2, but shape [2,3] wants 3 there"
    );
    assert_eq!(
        input_refused("FP32", "[2,2]", "[[1,2],[3,4],[5,6]]"),
        "input 'x': data has length 3, but shape [2,2] wants 2 there"
    );
    assert_eq!(
        input_refused("FP32", "[3,1]", "[[1]]"),
        "input 'x': data has length 1, but shape [3,1] wants 3 there"
    );
    assert_eq!(
        input_refused("FP32", "[2,2]", "[[1,2],3]"),
        "input 'x': data[1] is 3, but shape [2,2] has a list there"
    );
    assert!(input_refused("FP32", "[2,2]", "[1,[2],3,4]").contains("at index 1"));
    assert!(input_refused("FP32", "[3]", "[[1,2,3]]").contains("deeper than shape [3]"));
    assert!(input_refused("FP32", "[1,2]", "[[[1],2]]").contains("deeper than shape [1,2]"));
    assert!(input_refused("FP32", "[1,1,2]", "[[1,2]]").contains("data[0][0] is 1"));
}

#[test]
fn a_wrong_count_is_refused_with_both_counts() {
    for (data, found) in [("[1,2,3]", 3), ("[1,2,3,4,5,6]", 6), ("[]", 0)] {
        assert_eq!(
            input_refused("INT8", "[2,2]", data),
            format!("input 'x': shape [2,2] takes 4 elements, but got {found}")
        );
    }
    assert!(input_refused("INT8", "[0]", "[1]").contains("takes 0 elements, but got 1"));
    assert!(input_refused("INT8", "[0]", "[1,2]").contains("takes 0 elements, but got 2"));
}

#[test]
fn commas_in_the_wrong_place_are_refused() {
    for data in [
        "[1,2,]", "[,1,2]", "[1,,2]", "[1 2]", "[1,2", "[1,2}", "[", "",
    ] {
        assert!(
            input_refused("INT8", "[2]", data).contains("malformed JSON"),
            "{data}"
        );
    }
    for data in [
        "[[1],[2],]",
        "[[1],,[2]]",
        "[[1] [2]]",
        "[[1],[2]",
        "[[1],[2]}",
        "[[1],",
    ] {
        assert!(
            input_refused("INT8", "[2,1]", data).contains("malformed JSON"),
            "{data}"
        );
    }
}

#[test]
fn a_shape_beyond_the_address_space_is_refused_before_its_data_is_read() {
    let shape = "[18446744073709551615,18446744073709551615]";
    assert!(input_refused("INT8", shape, "[1]").contains("more elements than can be addressed"));
    assert!(input_refused("INT8", "[18446744073709551615]", "[1]").contains("but got 1"));
}

#[test]
fn numbers_nested_64_levels_deep_are_refused_at_once() {
    let shape = format!("[{}]", ["1"; 100].join(","));
    let data = "[".repeat(100) + "1" + &"]".repeat(100);
    assert!(input_refused("INT8", &shape, &data).contains("nested deeper than 64 levels"));
    assert!(input_refused("INT8", "[1]", &data).contains("deeper than shape [1]"));
    let shape = format!("[{}]", ["1"; 61].join(","));
    let data = "[".repeat(61) + "1" + &"]".repeat(61);
    assert_eq!(input("INT8", &shape, &data).element_count(), 1);
}

#[test]
fn strings_become_framed_bytes() {
    let tensor = input("BYTES", "[3]", r#"["a","","h\u00e9\ud83d\ude00\n"]"#);
    assert_eq!(tensor.strings().unwrap(), ["a", "", "hé😀\n"]);
    assert_eq!(
        input_refused("BYTES", "[2]", r#"["a",1]"#),
        "input 'x': element at index 1 is 1, but a BYTES element in JSON is a string"
    );
}

#[test]
fn booleans_are_true_or_false_only() {
    assert_eq!(
        input("BOOL", "[2]", "[true,false]").as_slice::<bool>(),
        Some(&[true, false][..])
    );
    for other in ["1", "0", "null", "\"true\"", "1.5"] {
        let message = input_refused("BOOL", "[1]", &format!("[{other}]"));
        assert!(message.contains("but a BOOL is true or false"), "{message}");
    }
    assert!(input_refused("BOOL", "[1]", "[trueish]").contains("malformed JSON"));
    assert!(input_refused("BOOL", "[1]", "[True]").contains("malformed JSON"));
}

#[test]
fn a_tensor_knows_how_its_data_was_written_and_is_equal_either_way() {
    let nested = input("FP32", "[1,2]", " [ [1, 2] ]");
    let flat = input("FP32", "[1,2]", "[1, 2]");
    assert_eq!(nested.written(), Written::NestedLists);
    assert_eq!(flat.written(), Written::List);
    assert_eq!(nested, flat);
}
