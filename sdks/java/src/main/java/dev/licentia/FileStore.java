package dev.licentia;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

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
            write(temporary, ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8)));
            Files.move(temporary, folder.resolve(name.fileName()),
                    StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(temporary);
        }
    }

    /** Writes the bytes to the disk: a crash after the move must not leave an empty file. */
    private static void write(Path path, ByteBuffer bytes) throws IOException {
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE)) {
            while (bytes.hasRemaining()) channel.write(bytes);
            channel.force(true);
        }
    }
}
