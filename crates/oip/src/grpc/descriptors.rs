//! What reflection knows: descriptor files, and which symbol stands in which.

use std::collections::HashMap;

use prost::{DecodeError, Message};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
};

/// Descriptor files by name, and their symbols.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    /// Each file in its encoded form.
    files: HashMap<String, Vec<u8>>,
    /// Full names of symbols, and the file that each stands in.
    symbols: HashMap<String, String>,
    services: Vec<String>,
}

impl Descriptors {
    /// Those of these encoded sets.
    ///
    /// # Errors
    /// When one is no descriptor set.
    pub(super) fn read(sets: &[&[u8]]) -> Result<Self, DecodeError> {
        let mut descriptors = Self::default();
        for set in sets {
            for file in FileDescriptorSet::decode(*set)?.file {
                descriptors.add(&file);
            }
        }
        Ok(descriptors)
    }

    /// A file by its name.
    pub(super) fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.files.get(name).cloned()
    }

    /// The file that a symbol stands in, by its full name.
    pub(super) fn file_of(&self, symbol: &str) -> Option<Vec<u8>> {
        self.file(self.symbols.get(symbol)?)
    }

    /// Full names of the services.
    pub(super) fn services(&self) -> &[String] {
        &self.services
    }

    /// Adds a service a second time, under another name and in a file of its own that takes the
    /// messages from the first. Both names are full, and of one package.
    ///
    /// # Errors
    /// When the service's file cannot be read.
    pub(super) fn name_also(
        &mut self,
        service: &str,
        name: &str,
        file: &str,
    ) -> Result<(), DecodeError> {
        let encoded = self.file_of(service).unwrap_or_default();
        let first = FileDescriptorProto::decode(encoded.as_slice())?;
        let (_, own) = service.rsplit_once('.').unwrap_or(("", service));
        let (_, other) = name.rsplit_once('.').unwrap_or(("", name));
        let found = first.service.iter().find(|known| known.name() == own);
        let service = found.map(|found| ServiceDescriptorProto {
            name: Some(other.to_owned()),
            ..found.clone()
        });
        self.add(&FileDescriptorProto {
            name: Some(file.to_owned()),
            package: first.package.clone(),
            dependency: first.name.into_iter().collect(),
            service: service.into_iter().collect(),
            syntax: first.syntax,
            ..FileDescriptorProto::default()
        });
        Ok(())
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        let name = file.name();
        if self.files.contains_key(name) {
            return;
        }
        self.files.insert(name.to_owned(), file.encode_to_vec());
        let package = file.package();
        for message in &file.message_type {
            self.add_message(name, package, message);
        }
        for kind in &file.enum_type {
            self.add_enum(name, package, kind);
        }
        for service in &file.service {
            let full = self.add_symbol(name, package, service.name());
            for method in &service.method {
                self.add_symbol(name, &full, method.name());
            }
            self.services.push(full);
        }
    }

    fn add_message(&mut self, file: &str, scope: &str, message: &DescriptorProto) {
        let full = self.add_symbol(file, scope, message.name());
        for field in &message.field {
            self.add_symbol(file, &full, field.name());
        }
        for choice in &message.oneof_decl {
            self.add_symbol(file, &full, choice.name());
        }
        for nested in &message.nested_type {
            self.add_message(file, &full, nested);
        }
        for nested in &message.enum_type {
            self.add_enum(file, &full, nested);
        }
    }

    /// An enum, whose values stand beside it.
    fn add_enum(&mut self, file: &str, scope: &str, kind: &EnumDescriptorProto) {
        self.add_symbol(file, scope, kind.name());
        for value in &kind.value {
            self.add_symbol(file, scope, value.name());
        }
    }

    fn add_symbol(&mut self, file: &str, scope: &str, name: &str) -> String {
        let full = match scope.is_empty() {
            true => name.to_owned(),
            false => format!("{scope}.{name}"),
        };
        self.symbols.insert(full.clone(), file.to_owned());
        full
    }
}
