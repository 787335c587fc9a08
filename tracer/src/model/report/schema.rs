//! The JSON Schema of the records, generated from the types.

use schemars::{
    Schema,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform},
};
use serde_json::{Value, json};

use super::Record;

/// The JSON Schema of [`Record`] as it is written: an unknown value is absent, never null.
pub(crate) fn json_schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Record>();
    RecursiveTransform(forbid_null).transform(&mut schema);
    schema
}

fn forbid_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only_type = only.clone();
            schema.insert("type".to_owned(), only_type);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| *choice != json!({ "type": "null" }));
        if let [Value::Object(only)] = choices.as_slice() {
            let only_choice = only.clone();
            schema.remove("anyOf");
            only_choice.into_iter().for_each(|(key, value)| {
                schema.insert(key, value);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::json_schema;

    #[test]
    fn schema_has_no_null_and_describes_every_key() {
        let schema = json_schema();
        assert!(!schema.as_value().to_string().contains("\"null\""));
        let definitions = schema.get("$defs").and_then(|all| all.as_object()).unwrap();
        for (name, definition) in definitions {
            let properties = definition.get("properties").and_then(|all| all.as_object());
            for (key, property) in properties.into_iter().flatten() {
                assert!(property.get("description").is_some(), "{name}.{key}");
            }
        }
    }

    #[test]
    fn only_keys_of_every_report_are_required() {
        let schema = json_schema();
        let required = schema.pointer("/$defs/OomReport/required").unwrap();
        assert_eq!(required.to_string(), r#"["schema","id","outcome","victims","source"]"#);
        let trigger = schema.pointer("/$defs/OomReport/properties/trigger/$ref").unwrap();
        assert_eq!(trigger, "#/$defs/Trigger");
    }
}
