use super::*;

static MINILM: &[u8] = include_bytes!("../../models/minilm/minilm.bin");

/// Where the payload begins.
fn payload_at(file: &[u8]) -> usize {
    let header = u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize;
    (16 + header).next_multiple_of(64)
}

/// The file with its header's text changed; padded so that the payload stays where it was.
fn with_header(change: impl Fn(String) -> String) -> &'static [u8] {
    let at = payload_at(MINILM);
    let length = u32::from_le_bytes(MINILM[12..16].try_into().unwrap()) as usize;
    let text = change(String::from_utf8(MINILM[16..16 + length].to_vec()).unwrap());
    let mut file = MINILM[..12].to_vec();
    file.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    file.extend(text.bytes());
    file.resize(file.len().next_multiple_of(64), 0);
    file.extend(&MINILM[at..]);
    file.leak()
}

#[test]
fn the_digest_is_that_of_the_payload() {
    let model = BertModel::load(MINILM).unwrap();
    assert_eq!(blake3::hash(&MINILM[payload_at(MINILM)..]).to_hex().as_str(), model.digest());
    assert_eq!((model.name(), model.window(), model.hidden()), ("all-MiniLM-L6-v2", 256, 384));
}

#[test]
fn a_damaged_file_is_an_error() {
    let at = payload_at(MINILM);
    for length in [0, 7, 8, 12, 15, 16, 200, at - 1, at, at + 1000, MINILM.len() / 2] {
        assert!(BertModel::load(&MINILM[..length]).is_err(), "cut to {length}");
    }
    let changes: [(&str, &str); 8] = [
        ("\"window\":256", "\"window\":255"),
        ("\"hidden\":384", "\"hidden\":18446744073709551615"),
        ("\"rows\":30522", "\"rows\":9930522"),
        ("encoder.layer.0.query.weight", "encoder.layer.9.query.weight"),
        ("encoder.layer.5.query.weight", "encoder.layer.9.query.weight"),
        ("\"embedded.gain\"", "\"embedded.gone\""),
        ("encoder.layer.3.key.weight\",\"rows\":384", "encoder.layer.3.key.weight\",\"rows\":383"),
        ("encoder.layer.5.outer.bias\",\"rows\":1", "encoder.layer.5.outer.bias\",\"rows\":2"),
    ];
    for (from, to) in changes {
        let file = with_header(|text| {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        });
        assert!(BertModel::load(file).is_err(), "{to}");
    }
    assert!(BertModel::load(with_header(|text| text)).is_ok());
}

#[test]
fn tokens_that_do_not_fit_are_refused() {
    let (model, mut work) = (BertModel::load(MINILM).unwrap(), Workspace::default());
    let cases: [(&[u32], &[u8]); 5] =
        [(&[], &[]), (&[101; 257], &[0; 257]), (&[101, 102], &[0]), (&[30_522], &[0]), (&[101], &[2])];
    for (ids, types) in cases {
        assert!(matches!(model.hidden_states(ids, types, &mut work), Err(ModelError::Tokens { .. })));
    }
    assert_eq!(model.hidden_states(&[101; 256], &[1; 256], &mut work).unwrap().dim(), (256, 384));
    assert!(matches!(model.logit(&[101], &[0], &mut work), Err(ModelError::WrongHead)));
}
