use half::{bf16, f16};
use ndarray::array;

use super::*;

#[test]
fn a_vector_becomes_the_buffer_without_a_copy() {
    let elements = vec![1_i64, 2, 3];
    let address = elements.as_ptr().cast::<u8>();
    let tensor = Tensor::from_vec("x", [3], elements).unwrap();
    assert_eq!(tensor.data().as_ptr(), address);
    assert_eq!(tensor.as_slice::<i64>(), Some(&[1, 2, 3][..]));
}

#[test]
fn an_unaligned_buffer_is_copied_by_to_slice_and_not_lent_by_as_slice() {
    let mut body = vec![0_u8; 64];
    let start = (4 - body.as_ptr() as usize % 4) % 4 + 1;
    body[start..start + 4].copy_from_slice(&1.5_f32.to_le_bytes());
    let data = Bytes::from(body).slice(start..start + 4);
    let tensor = Tensor::new("x", Datatype::Fp32, [1], data).unwrap();
    assert_eq!(tensor.as_slice::<f32>(), None);
    assert_eq!(tensor.to_slice::<f32>().unwrap(), &[1.5][..]);
    assert_eq!(tensor.to_array::<f32>().unwrap()[[0]], 1.5);
}

#[test]
fn a_buffer_of_the_wrong_size_is_refused_with_both_sizes() {
    let error = Tensor::new("x", Datatype::Fp32, [2], vec![0; 7]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor 'x': FP32 of shape [2] takes 8 bytes (2 elements), but got 7 bytes"
    );
}

#[test]
fn a_shape_beyond_the_address_space_is_refused() {
    let shape = [1 << 32, 1 << 32];
    let error = Tensor::new("x", Datatype::Int8, shape, vec![]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("more elements than can be addressed")
    );
}

#[test]
fn a_bool_byte_of_2_is_refused_with_its_index() {
    let error = Tensor::new("x", Datatype::Bool, [3], vec![0, 1, 2]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor 'x': element at index 2 is 2, but a BOOL is 0 or 1"
    );
    let tensor = Tensor::from_vec("x", [2], vec![true, false]).unwrap();
    assert_eq!(tensor.as_slice::<bool>(), Some(&[true, false][..]));
}

#[test]
fn strings_are_framed_and_read_back() {
    let tensor = Tensor::from_strings("x", [3], ["a", "", "héé"]).unwrap();
    assert_eq!(tensor.strings().unwrap(), ["a", "", "héé"]);
    assert_eq!(&tensor.data()[..5], b"\x01\0\0\0a");
}

#[test]
fn a_string_longer_than_the_buffer_is_refused_where_it_begins() {
    let data = b"\x01\0\0\0a\x09\0\0\0b".to_vec();
    let error = Tensor::new("x", Datatype::Bytes, [2], data).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor 'x': BYTES element at index 1 (offset 5) needs 13 bytes, but 5 are left"
    );
}

#[test]
fn too_few_and_too_many_strings_are_refused() {
    for strings in [&["a"][..], &["a", "b", "c"]] {
        let error = Tensor::from_strings("x", [2], strings).unwrap_err();
        assert!(error.to_string().contains("takes 2 elements"), "{error}");
    }
}

#[test]
fn half_precision_elements_are_views_too() {
    let tensor = Tensor::from_vec("x", [1], vec![f16::from_f32(0.5)]).unwrap();
    assert_eq!(tensor.as_slice::<f16>(), Some(&[f16::from_f32(0.5)][..]));
    let tensor = Tensor::from_vec("x", [1], vec![bf16::from_f32(0.5)]).unwrap();
    assert_eq!(tensor.datatype(), Datatype::Bf16);
}

#[test]
fn an_array_in_column_order_is_brought_into_row_order() {
    let transposed = array![[1_i32, 2, 3], [4, 5, 6]].reversed_axes();
    let tensor = Tensor::from_array("x", transposed).unwrap();
    assert_eq!(tensor.shape(), &Shape::from([3, 2]));
    assert_eq!(tensor.as_slice::<i32>(), Some(&[1, 4, 2, 5, 3, 6][..]));
}

#[test]
fn a_slice_of_an_array_keeps_only_what_its_shape_shows() {
    let sliced = array![1_i32, 2, 3, 4].slice_move(ndarray::s![1..3]);
    let tensor = Tensor::from_array("x", sliced).unwrap();
    assert_eq!(tensor.as_slice::<i32>(), Some(&[2, 3][..]));
}

#[test]
fn reading_as_another_datatype_is_the_callers_fault_and_building_wrongly_the_handlers() {
    let tensor = Tensor::from_vec("x", [1], vec![1_i32]).unwrap();
    let error = Error::from(tensor.to_slice::<f32>().unwrap_err());
    assert_eq!(error.kind(), crate::ErrorKind::DoesNotFit);
    assert_eq!(
        error.message(),
        "tensor 'x': expected FP32, but it is INT32"
    );
    let error = Error::from(Tensor::from_vec("y", [2], vec![1_i32]).unwrap_err());
    assert_eq!(error.kind(), crate::ErrorKind::HandlerFailed);
}

#[test]
fn debug_shows_no_elements() {
    let tensor = Tensor::from_strings("x", [1], ["secret"]).unwrap();
    assert_eq!(format!("{tensor:?}"), "Tensor('x' BYTES [1])");
}
