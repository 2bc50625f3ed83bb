; An installer of 32 bits, for machines of 64: what it calls the system folder and HKLM\Software is elsewhere.
; Built and run by `cargo xtask prove windows`.
Name "Thirty-two"
OutFile "thirty-two.exe"
RequestExecutionLevel admin
SilentInstall silent
InstallDir "$PROGRAMFILES\Thirty-two"

Section
  SetShellVarContext all
  SetOutPath "$INSTDIR"
  File "thirty-two.nsi"
  ; Seen by this program as system32.
  FileOpen $1 "$SYSDIR\thirty-two.dll" w
  FileWrite $1 "a library of 32 bits"
  FileClose $1
  WriteRegStr HKLM "SOFTWARE\Thirty-two" "Folder" "$INSTDIR"
  WriteRegStr HKLM "SOFTWARE\Classes\CLSID\{0A1B2C3D-3232-3232-3232-444455556666}\InprocServer32" "" "$SYSDIR\thirty-two.dll"
  WriteRegStr HKLM "SOFTWARE\Classes\.thirty-two" "" "ThirtyTwo.File"
  WriteRegStr HKLM "SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\Thirty-two" "DisplayName" "Thirty-two"
  WriteRegStr HKCU "Software\Thirty-two" "User" "value"
  ; And by a program of 64 bits.
  SetRegView 64
  WriteRegStr HKLM "SOFTWARE\Thirty-two" "View" "64"
SectionEnd
