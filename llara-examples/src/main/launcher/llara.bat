@echo off
rem Starts the command line of llara. JAVA_HOME picks the Java, LLARA_JVM_OPTS adds options for it.
setlocal
set "JAVA=java"
if defined JAVA_HOME set "JAVA=%JAVA_HOME%\bin\java"
"%JAVA%" -XX:+DisplayVMOutputToStderr %LLARA_JVM_OPTS% -jar "%~dp0..\lib\llara-examples.jar" %*
exit /b %ERRORLEVEL%
