; An installer that does all an installer may do to the registry, and much of what it may do besides.
; Built and run by `cargo xtask prove windows`.
Name "Everything"
OutFile "everything.exe"
RequestExecutionLevel admin
SilentInstall silent
InstallDir "$PROGRAMFILES64\Everything"

Section
  SetRegView 64
  SetShellVarContext all
  SetOutPath "$INSTDIR\bin"
  File "service.exe"
  SetOutPath "$SYSDIR\drivers"
  File /oname=everything.sys "driver.sys"
  SetOutPath "$INSTDIR"
  File "everything.reg"
  ExecWait 'regedit /S "$INSTDIR\everything.reg"'
  Delete "$INSTDIR\everything.reg"

  ; Folders that stay empty (Q248367).
  StrCpy $0 0
  again:
    CreateDirectory "$INSTDIR\empty\$0"
    IntOp $0 $0 + 1
    IntCmp $0 3000 0 again

  ; A hidden and a read-only file, names that are no plain ASCII.
  FileOpen $1 "$INSTDIR\hidden.ini" w
  FileWrite $1 "[section]$\r$\nkey=value$\r$\n"
  FileClose $1
  SetFileAttributes "$INSTDIR\hidden.ini" HIDDEN
  FileOpen $1 "$INSTDIR\Größe ŁĄ.txt" w
  FileWrite $1 "$INSTDIR"
  FileClose $1

  ; The path of every machine is its own; one entry is added.
  ReadRegStr $0 HKLM "SYSTEM\CurrentControlSet\Control\Session Manager\Environment" "PATH"
  WriteRegExpandStr HKLM "SYSTEM\CurrentControlSet\Control\Session Manager\Environment" "PATH" "$0;$INSTDIR\bin"
  WriteRegStr HKLM "SYSTEM\CurrentControlSet\Control\Session Manager\Environment" "EVERYTHING_HOME" "$INSTDIR"

  ; A service, told to the service manager, and what must not travel with it (Q192868).
  ExecWait 'sc create Everything binPath= "\"$INSTDIR\bin\service.exe\" --service" start= auto DisplayName= "Everything of the proof"'
  ExecWait 'sc create EverythingDriver type= kernel start= demand binPath= "$SYSDIR\drivers\everything.sys" DisplayName= "The driver of the proof"'
  WriteRegStr HKLM "SYSTEM\CurrentControlSet\Services\EverythingDriver\Enum" "0" "Root\LEGACY_EVERYTHING\0000"
  WriteRegDWORD HKLM "SYSTEM\CurrentControlSet\Services\EverythingDriver\Enum" "Count" 1
  WriteRegBin HKLM "SYSTEM\CurrentControlSet\Services\Everything\Security" "Security" 0100148090000000
  WriteRegStr HKLM "SYSTEM\CurrentControlSet\Services\Everything\Parameters" "Folder" "$INSTDIR"

  ; File type, COM server, font, logon, Active Setup, Programs and Features.
  WriteRegStr HKLM "SOFTWARE\Classes\.everything" "" "Everything.File"
  WriteRegStr HKLM "SOFTWARE\Classes\Everything.File\shell\open\command" "" '"$INSTDIR\bin\service.exe" "%1"'
  WriteRegStr HKLM "SOFTWARE\Classes\CLSID\{0A1B2C3D-1111-2222-3333-444455556666}\InprocServer32" "" "$INSTDIR\bin\server.dll"
  WriteRegStr HKLM "SOFTWARE\Microsoft\Windows NT\CurrentVersion\Fonts" "Everything Sans" "everything.ttf"
  WriteRegStr HKLM "SOFTWARE\Microsoft\Windows\CurrentVersion\Run" "Everything" '"$INSTDIR\bin\service.exe" --tray'
  WriteRegStr HKLM "SOFTWARE\Microsoft\Active Setup\Installed Components\Everything" "StubPath" "$INSTDIR\bin\service.exe --user"
  WriteRegStr HKLM "SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\Everything" "DisplayName" "Everything"
  SetRegView 32
  WriteRegStr HKLM "SOFTWARE\Everything" "View" "32"
  SetRegView 64

  ; Shortcuts: with all they may say, and one that shows where it leads.
  CreateDirectory "$SMPROGRAMS\Everything"
  SetOutPath "$INSTDIR"
  CreateShortCut "$SMPROGRAMS\Everything\Everything.lnk" "$INSTDIR\bin\service.exe" "--tray" "$INSTDIR\bin\service.exe" 0 SW_SHOWMINIMIZED "" "Everything of the proof"
  CreateShortCut "$SMPROGRAMS\Everything\Note.lnk" "$SYSDIR\cmd.exe" "/c echo led here> C:\note.txt"

  ; A scheduled task, told to the scheduler, which a machine that is just starting may not have yet.
  SetOutPath "$INSTDIR"
  File "nightly.xml"
  StrCpy $0 0
  schedule:
    ExecWait 'schtasks /create /tn "\Everything\Nightly" /xml "$INSTDIR\nightly.xml"' $1
    IntOp $0 $0 + 1
    StrCmp $1 0 scheduled
    IntCmp $0 10 scheduled schedule scheduled
  scheduled:
  Delete "$INSTDIR\nightly.xml"

  ; One user's part.
  SetShellVarContext current
  WriteRegStr HKCU "Software\Everything" "Folder" "$APPDATA\Everything"
  SetOutPath "$APPDATA\Everything"
  FileOpen $1 "$APPDATA\Everything\user.ini" w
  FileWrite $1 "[user]$\r$\n"
  FileClose $1

  ; What waits for a restart: a file that takes its place, and a second part.
  FileOpen $1 "$INSTDIR\late.new" w
  FileWrite $1 "in place since the restart"
  FileClose $1
  System::Call 'kernel32::MoveFileExW(w "$INSTDIR\late.new", w "$INSTDIR\late.txt", i 4)'
  WriteRegStr HKLM "SOFTWARE\Microsoft\Windows\CurrentVersion\RunOnce" "Everything" 'cmd.exe /c echo second part> "$INSTDIR\second.txt"'
  SetErrorLevel 3010
SectionEnd
