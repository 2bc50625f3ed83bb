//! The tables we write, as Windows Installer's documentation describes them; keys come first.

use super::database::Column;

macro_rules! table {
    ($name:literal: $($column:literal $kind:literal),+) => {
        ($name, &[$(Column($column, $kind)),+] as &[Column])
    };
}

pub(super) const TABLES: &[(&str, &[Column])] = &[
    table!("AdminExecuteSequence": "Action" "s72*", "Condition" "S255", "Sequence" "I2"),
    table!("AdminUISequence": "Action" "s72*", "Condition" "S255", "Sequence" "I2"),
    table!("AdvtExecuteSequence": "Action" "s72*", "Condition" "S255", "Sequence" "I2"),
    table!("Component": "Component" "s72*", "ComponentId" "S38", "Directory_" "s72", "Attributes" "i2", "Condition" "S255", "KeyPath" "S72"),
    table!("CreateFolder": "Directory_" "s72*", "Component_" "s72*"),
    table!("CustomAction": "Action" "s72*", "Type" "i2", "Source" "S72", "Target" "S255"),
    table!("Directory": "Directory" "s72*", "Directory_Parent" "S72", "DefaultDir" "l255"),
    table!("DuplicateFile": "FileKey" "s72*", "Component_" "s72", "File_" "s72", "DestName" "L255", "DestFolder" "S72"),
    table!("Environment": "Environment" "s72*", "Name" "l255", "Value" "L255", "Component_" "s72"),
    table!("Feature": "Feature" "s38*", "Feature_Parent" "S38", "Title" "L64", "Description" "L255", "Display" "I2", "Level" "i2", "Directory_" "S72", "Attributes" "i2"),
    table!("FeatureComponents": "Feature_" "s38*", "Component_" "s72*"),
    table!("File": "File" "s72*", "Component_" "s72", "FileName" "l255", "FileSize" "i4", "Version" "S72", "Language" "S20", "Attributes" "I2", "Sequence" "i4"),
    table!("IniFile": "IniFile" "s72*", "FileName" "l255", "DirProperty" "S72", "Section" "l96", "Key" "l128", "Value" "l255", "Action" "i2", "Component_" "s72"),
    table!("InstallExecuteSequence": "Action" "s72*", "Condition" "S255", "Sequence" "I2"),
    table!("InstallUISequence": "Action" "s72*", "Condition" "S255", "Sequence" "I2"),
    table!("LaunchCondition": "Condition" "s255*", "Description" "l255"),
    table!("Media": "DiskId" "i2*", "LastSequence" "i4", "DiskPrompt" "L64", "Cabinet" "S255", "VolumeLabel" "S32", "Source" "S72"),
    table!("MsiServiceConfig": "MsiServiceConfig" "s72*", "Name" "s255", "Event" "i2", "ConfigType" "i4", "Argument" "S0", "Component_" "s72"),
    table!("Property": "Property" "s72*", "Value" "l0"),
    table!("Registry": "Registry" "s72*", "Root" "i2", "Key" "l255", "Name" "L255", "Value" "L0", "Component_" "s72"),
    table!("RemoveRegistry": "RemoveRegistry" "s72*", "Root" "i2", "Key" "l255", "Name" "L255", "Component_" "s72"),
    table!("ServiceControl": "ServiceControl" "s72*", "Name" "l255", "Event" "i2", "Arguments" "L255", "Wait" "I2", "Component_" "s72"),
    table!("ServiceInstall": "ServiceInstall" "s72*", "Name" "s255", "DisplayName" "L255", "ServiceType" "i4", "StartType" "i4", "ErrorControl" "i4", "LoadOrderGroup" "S255", "Dependencies" "S255", "StartName" "S255", "Password" "S255", "Arguments" "S255", "Component_" "s72", "Description" "L255"),
    table!("Shortcut": "Shortcut" "s72*", "Directory_" "s72", "Name" "l128", "Component_" "s72", "Target" "s72", "Arguments" "S255", "Description" "L255", "Hotkey" "I2", "Icon_" "S72", "IconIndex" "I2", "ShowCmd" "I2", "WkDir" "S72"),
    table!("Upgrade": "UpgradeCode" "s38*", "VersionMin" "S20*", "VersionMax" "S20*", "Language" "S255*", "Attributes" "i4*", "Remove" "S255", "ActionProperty" "s72"),
];

/// Actions that must happen, with their numbers; the sequences of the documentation.
pub(super) const EXECUTE: &[(&str, i32)] = &[
    ("FindRelatedProducts", 25),
    ("LaunchConditions", 100),
    ("CostInitialize", 800),
    ("FileCost", 900),
    ("CostFinalize", 1000),
    ("InstallValidate", 1400),
    ("InstallInitialize", 1500),
    ("RemoveExistingProducts", 1501),
    ("ProcessComponents", 1600),
    ("UnpublishFeatures", 1800),
    ("StopServices", 1900),
    ("DeleteServices", 2000),
    ("RemoveRegistryValues", 2600),
    ("RemoveIniValues", 3100),
    ("RemoveShortcuts", 3200),
    ("RemoveEnvironmentStrings", 3300),
    ("RemoveDuplicateFiles", 3400),
    ("RemoveFiles", 3500),
    ("RemoveFolders", 3600),
    ("CreateFolders", 3700),
    ("InstallFiles", 4000),
    ("DuplicateFiles", 4210),
    ("CreateShortcuts", 4500),
    ("WriteRegistryValues", 5000),
    ("WriteIniValues", 5100),
    ("WriteEnvironmentStrings", 5200),
    ("InstallServices", 5800),
    ("StartServices", 5900),
    ("RegisterUser", 6000),
    ("RegisterProduct", 6100),
    ("PublishFeatures", 6300),
    ("PublishProduct", 6400),
    ("InstallFinalize", 6600),
];

/// Where somebody looks on.
pub(super) const UI: &[(&str, i32)] = &[
    ("FindRelatedProducts", 25),
    ("LaunchConditions", 100),
    ("CostInitialize", 800),
    ("FileCost", 900),
    ("CostFinalize", 1000),
    ("ExecuteAction", 1300),
];

/// For a copy on a server.
pub(super) const ADMIN: &[(&str, i32)] = &[
    ("CostInitialize", 800),
    ("FileCost", 900),
    ("CostFinalize", 1000),
    ("InstallValidate", 1400),
    ("InstallInitialize", 1500),
    ("InstallAdminPackage", 3900),
    ("InstallFiles", 4000),
    ("InstallFinalize", 6600),
];

/// The same, where somebody looks on.
pub(super) const ADMIN_UI: &[(&str, i32)] =
    &[("CostInitialize", 800), ("FileCost", 900), ("CostFinalize", 1000), ("ExecuteAction", 1300)];

/// For a product that is only announced.
pub(super) const ADVERTISE: &[(&str, i32)] = &[
    ("CostInitialize", 800),
    ("CostFinalize", 1000),
    ("InstallValidate", 1400),
    ("InstallInitialize", 1500),
    ("PublishFeatures", 6300),
    ("PublishProduct", 6400),
    ("InstallFinalize", 6600),
];
