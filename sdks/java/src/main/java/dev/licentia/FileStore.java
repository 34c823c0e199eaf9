package dev.licentia;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/** Keeps the texts as files in a folder of the user, readable only for the user. */
public final class FileStore implements Store {
    private final Path folder;

    public FileStore(Path folder) {
        this.folder = folder;
    }

    @Override
    public String read(Name name) throws IOException {
        try {
            // Bytes that are not UTF-8 are replaced: then it is no license, and no error either.
            byte[] bytes = Files.readAllBytes(folder.resolve(name.fileName()));
            return new String(bytes, StandardCharsets.UTF_8);
        } catch (NoSuchFileException error) {
            return null;
        }
    }

    @Override
    public void write(Name name, String text) throws IOException {
        Files.createDirectories(folder);
        // Moved, so that a crash leaves the former text or the new one, never half of it. Temporary
        // files are created with the mode 0600.
        Path temporary = Files.createTempFile(folder, name.fileName(), null);
        try {
            Files.writeString(temporary, text);
            Files.move(temporary, folder.resolve(name.fileName()),
                    StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(temporary);
        }
    }
}
